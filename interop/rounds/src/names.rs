//! The topics of a round. Each begins with the application's id, so that rounds do not meet on one broker; those of the
//! round with a dot behind it, the application's internal ones with a hyphen.

/// What the application reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input {
    /// Lines of words, without a key: an id, then words.
    Lines,
    /// Visits by user, for the windowed count: an id.
    Visits,
    /// The left side of the outer join: an id.
    Left,
    /// The right side of the outer join: an id.
    Right,
    /// A table of orders, for the foreign-key join: `CUSTOMER|VERSION`.
    Orders,
    /// A table of customers: a version.
    Customers,
    /// The left table of the join of tables.
    Profiles,
    /// The right table of the join of tables.
    Addresses,
    /// A global table of rates.
    Rates,
    /// Payments that each name a rate.
    Payments,
    /// Events that come up to three times, to be told once.
    Events,
}

impl Input {
    /// All of them.
    pub const ALL: [Input; 11] = [
        Input::Lines,
        Input::Visits,
        Input::Left,
        Input::Right,
        Input::Orders,
        Input::Customers,
        Input::Profiles,
        Input::Addresses,
        Input::Rates,
        Input::Payments,
        Input::Events,
    ];

    /// The topic's name behind the prefix.
    pub fn name(self) -> &'static str {
        match self {
            Input::Lines => "lines",
            Input::Visits => "visits",
            Input::Left => "left",
            Input::Right => "right",
            Input::Orders => "orders",
            Input::Customers => "customers",
            Input::Profiles => "profiles",
            Input::Addresses => "addresses",
            Input::Rates => "rates",
            Input::Payments => "payments",
            Input::Events => "events",
        }
    }

    /// Whether the application commits offsets of it; a global table's are no group's.
    pub fn is_committed(self) -> bool {
        self != Input::Rates
    }
}

/// What comes out, and two changelogs that are read as tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Output {
    /// How often each word came: a count, too high after a crash and never too low.
    Counts,
    /// The ids of the lines each word is in: a set, the same however often a line is counted.
    Words,
    /// The ids of a user's visits in a window, once it has closed.
    Windows,
    /// Pairs of the outer join.
    Joined,
    /// The foreign-key join's table.
    Bills,
    /// The rows of the join of tables.
    Cards,
    /// Payments with their rate.
    Priced,
    /// Events, told once or more often.
    Unique,
    /// The changelog of the store behind [`Output::Words`].
    WordsChangelog,
    /// The changelog of the store of known events.
    SeenChangelog,
}

/// The store of the words' sets.
pub const WORDS_STORE: &str = "words";
/// The store of events that were told.
pub const SEEN_STORE: &str = "seen";

impl Output {
    /// All of them.
    pub const ALL: [Output; 10] = [
        Output::Counts,
        Output::Words,
        Output::Windows,
        Output::Joined,
        Output::Bills,
        Output::Cards,
        Output::Priced,
        Output::Unique,
        Output::WordsChangelog,
        Output::SeenChangelog,
    ];

    /// What people call the part of the application that writes it.
    pub fn part(self) -> &'static str {
        match self {
            Output::Counts => "word count",
            Output::Words => "words' ids",
            Output::Windows => "windowed count with suppress",
            Output::Joined => "outer join",
            Output::Bills => "foreign-key join",
            Output::Cards => "table-table join",
            Output::Priced => "global-table join",
            Output::Unique => "deduplication",
            Output::WordsChangelog => "changelog of words",
            Output::SeenChangelog => "changelog of seen events",
        }
    }

    /// Whether the round creates the topic; the application makes its changelogs itself.
    pub fn is_created(self) -> bool {
        !matches!(self, Output::WordsChangelog | Output::SeenChangelog)
    }

    fn name(self) -> &'static str {
        match self {
            Output::Counts => "counts",
            Output::Words => "words",
            Output::Windows => "windows",
            Output::Joined => "joined",
            Output::Bills => "bills",
            Output::Cards => "cards",
            Output::Priced => "priced",
            Output::Unique => "unique",
            Output::WordsChangelog => WORDS_STORE,
            Output::SeenChangelog => SEEN_STORE,
        }
    }
}

/// The names under one application id.
#[derive(Clone, Debug)]
pub struct Names {
    application_id: String,
}

impl Names {
    /// The names of the application with this id.
    pub fn new(application_id: impl Into<String>) -> Self {
        Self { application_id: application_id.into() }
    }

    /// The application's id, which is its group's name too.
    pub fn application_id(&self) -> &str {
        &self.application_id
    }

    /// An input's topic.
    pub fn input(&self, input: Input) -> String {
        format!("{}.{}", self.application_id, input.name())
    }

    /// An output's topic.
    pub fn output(&self, output: Output) -> String {
        if output.is_created() {
            return format!("{}.{}", self.application_id, output.name());
        }
        format!("{}-{}-changelog", self.application_id, output.name())
    }

    /// Whether a topic of this name belongs to the round.
    pub fn owns(&self, topic: &str) -> bool {
        topic.strip_prefix(&self.application_id).is_some_and(|rest| rest.starts_with(['.', '-']))
    }

    /// Whether the group commits offsets of this topic: an input, or an internal topic that is no changelog.
    pub fn is_consumed(&self, topic: &str) -> bool {
        let inputs = Input::ALL.into_iter().filter(|input| input.is_committed());
        let internal = topic.strip_prefix(&self.application_id).is_some_and(|rest| rest.starts_with('-'));
        (internal && !topic.ends_with("-changelog")) || inputs.into_iter().any(|input| self.input(input) == topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_group_commits_is_told_from_what_it_writes() {
        let names = Names::new("app-1");
        for consumed in ["app-1.lines", "app-1-words-repartition", "app-1-bills-subscription-response-topic"] {
            assert!(names.is_consumed(consumed), "{consumed}");
        }
        for other in ["app-1.rates", "app-1.words", "app-1-words-changelog", "app-10.lines", "lines"] {
            assert!(!names.is_consumed(other), "{other}");
        }
        assert!(names.owns("app-1-words-changelog") && names.owns("app-1.words") && !names.owns("app-12.words"));
    }
}
