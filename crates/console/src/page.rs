//! The page's files, which are compiled in.

/// A file of the page.
#[derive(Debug)]
pub(crate) struct File {
    /// Its media type.
    pub(crate) content_type: &'static str,
    /// Its bytes.
    pub(crate) content: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

macro_rules! files {
    ($($path:literal => $name:literal $content_type:ident,)*) => {
        /// The file at a path.
        pub(crate) fn file(path: &str) -> Option<File> {
            match path {
                $($path => Some(File { content_type: $content_type, content: include_str!(concat!("page/", $name)) }),)*
                _ => None,
            }
        }

        #[cfg(test)]
        const PATHS: &[&str] = &[$($path),*];
    };
}

files! {
    "/" => "index.html" HTML,
    "/console.css" => "console.css" CSS,
    "/icon.svg" => "icon.svg" IMAGE,
    "/main.js" => "main.js" SCRIPT,
    "/api.js" => "api.js" SCRIPT,
    "/dom.js" => "dom.js" SCRIPT,
    "/format.js" => "format.js" SCRIPT,
    "/graph.js" => "graph.js" SCRIPT,
    "/list.js" => "list.js" SCRIPT,
    "/live.js" => "live.js" SCRIPT,
    "/views/application.js" => "views/application.js" SCRIPT,
    "/views/applications.js" => "views/applications.js" SCRIPT,
    "/views/broker.js" => "views/broker.js" SCRIPT,
    "/views/brokers.js" => "views/brokers.js" SCRIPT,
    "/views/group.js" => "views/group.js" SCRIPT,
    "/views/groups.js" => "views/groups.js" SCRIPT,
    "/views/overview.js" => "views/overview.js" SCRIPT,
    "/views/records.js" => "views/records.js" SCRIPT,
    "/views/settings.js" => "views/settings.js" SCRIPT,
    "/views/topic.js" => "views/topic.js" SCRIPT,
    "/views/topics.js" => "views/topics.js" SCRIPT,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page may have no script in it, and its scripts nothing that reads text as markup or as code.
    #[test]
    fn nothing_of_the_page_makes_markup_of_text() {
        for path in PATHS {
            let content = file(path).unwrap().content;
            for word in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser", "srcdoc"]
            {
                assert!(!content.contains(word), "{path} has {word}");
            }
            for word in ["https://", "style=\"", " onclick", " onload"] {
                assert!(!content.contains(word), "{path} has {word}");
            }
        }
        let index = file("/").unwrap().content;
        assert_eq!(index.matches("<script").count(), index.matches("<script type=\"module\" src=\"/").count());
    }
}
