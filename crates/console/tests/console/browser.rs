//! The page as it is seen in a browser.
//!
//! With `VLTAVA_PICTURES=DIRECTORY` it makes the pictures of the README there.

use std::time::Duration;

use vltava_client::admin::NewTopic;
use vltava_client::producer::{HeaderView, ProducerRecord};
use vltava_console::ConsoleConfig;

use super::applications::WordCount;
use super::chromium::Browser;
use super::cluster::{Cluster, console};

/// What would run if a value were markup.
const HOSTILE: &str = "<img src=x onerror='window.pwned=1'><script>window.pwned=1</script>";

const TOPICS: usize = 1000;

async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    let named = [("orders", 3), ("payments", 2), ("shipments", 2), ("words", 2)];
    let named =
        named.map(|(name, partitions)| NewTopic::new(name).partitions(partitions).config("retention.ms", "604800000"));
    let many = (0..TOPICS).map(|at| NewTopic::new(format!("sensor.{at:04}.readings")).partitions(1));
    for (_, created) in cluster.admin.create_topics(named.into_iter().chain(many)).await {
        created.unwrap();
    }
    let items = ["tea", "poppy seed cake", HOSTILE, "plum jam", "rye bread"];
    for (at, item) in items.iter().enumerate() {
        let order = serde_json::json!({"order": 1000 + at, "item": item, "price": {"amount": 12.5, "currency": "CZK"}});
        let (key, value) = (format!("customer-{at}"), order.to_string());
        let headers = [HeaderView::new("trace", Some(b"4bf92f3577b34da6"))];
        let record = ProducerRecord::new("orders").partition(0).key(&key).value(&value);
        cluster.send([ProducerRecord { headers: &headers, ..record }]).await;
    }
    cluster
}

/// Keeps a picture where they are asked for.
fn keep(browser: &mut Browser, name: &str) {
    if let Some(directory) = std::env::var_os("VLTAVA_PICTURES") {
        std::fs::write(std::path::Path::new(&directory).join(name), browser.picture()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_view_says_what_there_is() {
    let Some(mut browser) = Browser::start() else { return };
    let cluster = cluster().await;
    let member = cluster.member("billing", "consumer", "orders").await;
    let program = WordCount::start(&cluster).await;
    let config = ConsoleConfig::new([("bootstrap.servers", cluster.servers())]);
    let config = config.application("word-count", &format!("http://{}", program.metrics)).unwrap();
    let console = console(config).await;
    // Records that come meanwhile.
    let producer = cluster.producer();
    let writing = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        for at in 0_u64.. {
            ticks.tick().await;
            for topic in ["payments", "shipments", "words", "payments"] {
                let _ = producer.send(ProducerRecord::new(topic).value(&at.to_string())).await;
            }
        }
    });
    let page = |path: &str| format!("http://{console}/{path}");

    browser.open(&page("#/"));
    browser.see(&["Overview", "Records per second", "Broker 1", "controller", "live, "]);
    browser.see(&["Cluster ", cluster.broker.cluster_id(), "payments", "shipments"]);
    browser.wait("Number(document.querySelectorAll('.card dd')[1].textContent.replace(',', '')) >= 1004");
    browser.wait("document.querySelector('.spark path')");
    if std::env::var_os("VLTAVA_PICTURES").is_some() {
        browser.see(&["the last 14 s"]);
    }
    keep(&mut browser, "console-overview.png");

    browser.open(&page("#/topics"));
    browser.see(&["1,006 topics", "orders", "payments"]);
    let rows = "document.querySelectorAll('.rows [role=row]').length";
    assert!(browser.evaluate(rows).as_u64().unwrap() < 60, "only the rows in sight are drawn");
    let typed = |text: &str| {
        format!(
            "(() => {{ const field = document.querySelector('input[type=search]'); field.value = '{text}'; \
             field.dispatchEvent(new Event('input')); }})()"
        )
    };
    // A filter of a thousand topics answers within a frame or two; a slow machine has ten times that.
    let took = format!(
        "(() => {{ const began = performance.now(); {}; return performance.now() - began; }})()",
        typed("0999")
    );
    let took = browser.evaluate(&took).as_f64().unwrap();
    assert!(took < 300.0, "filtering took {took} ms");
    browser.see(&["1 of 1,006", "sensor.0999.readings"]);
    browser.evaluate(&typed("nothing of that name"));
    browser.see(&["No topic has “nothing of that name” in its name."]);
    browser.evaluate(&typed(""));
    browser.evaluate("window.scrollTo(0, document.body.scrollHeight)");
    browser.see(&["words"]);
    browser.evaluate("window.scrollTo(0, 0); document.querySelectorAll('[role=columnheader]')[5].click()");
    browser.wait("document.querySelector('.rows [role=row] a').textContent === 'payments'");

    browser.open(&page("#/topics/orders"));
    browser.see(&["Partition", "Broker 1", "End offset", "well"]);
    browser.open(&page("#/topics/orders/records"));
    browser.see(&["5 records. That is all that was there.", "customer-4", "poppy seed cake", HOSTILE]);
    browser.evaluate("document.querySelectorAll('.records details')[2].open = true");
    browser.see(&["Value, json", "\"currency\": \"CZK\"", "Header trace", "4bf92f3577b34da6"]);
    assert_eq!(
        browser.evaluate("window.pwned === undefined && !document.querySelector('main img, main script')"),
        true
    );
    browser.dark(true);
    keep(&mut browser, "console-records.png");
    browser.dark(false);
    browser.evaluate(&typed("plum"));
    browser.evaluate("document.querySelector('form').requestSubmit()");
    browser.see(&["1 record of 5 records that it looked at."]);
    browser.open(&page("#/topics/orders/settings"));
    browser.see(&["retention.ms", "604800000", "set for the topic", "Kafka's default"]);

    browser.open(&page("#/groups"));
    browser.see(&["billing", "Consumer", "word-count", "Streams", "Stable"]);
    browser.wait("[...document.querySelectorAll('.rows [role=row]')].some((row) => row.innerText.split('\\n').join(' ').match(/billing.*3$/))");
    browser.open(&page("#/groups/billing"));
    browser.see(&["Lag in records", "127.0.0.1", "orders", "What a reset would do"]);
    browser.wait("document.querySelectorAll('.card dd')[3].textContent === '3'");
    browser.wait("/ ms| s| min/.test(document.querySelectorAll('.card dd')[4].textContent)");
    browser.evaluate("document.querySelector('form').requestSubmit()");
    browser.see(&["Kafka resets offsets of groups without members only. Nothing was changed.", "2 records again"]);
    browser.open(&page("#/groups/word-count"));
    browser.see(&["Topology", "Subtopology 0", "Subtopology 1", "repartition, 2 partitions", "changelog of a store"]);
    browser.see(&["active 0_0, 0_1, 1_0, 1_1"]);
    keep(&mut browser, "console-group.png");
    browser.open(&page("#/brokers"));
    browser.see(&["Log directory", "Free on its disk"]);
    browser.open(&page("#/brokers/1"));
    browser.see(&["log.dirs", "from server.properties"]);

    browser.open(&page("#/applications"));
    browser.see(&["RUNNING", "It is ready.", "Streams groups", "word-count"]);
    browser.open(&page("#/applications/word-count"));
    browser.see(&["RUNNING", "Threads alive", "0_1", "Subtopology 1", "Processed", "group word-count"]);
    keep(&mut browser, "console-application.png");

    browser.open(&page("#/topics/none"));
    browser.see(&["This is not there. There is no topic `none`, or the console's login may not see it"]);
    browser.open(&page("#/groups/none"));
    browser.see(&["There is no group `none`"]);
    browser.open(&page("#/nothing"));
    browser.see(&["There is no such page."]);
    assert_eq!(browser.complaints, Vec::<String>::new());

    browser.open(&page("#/"));
    browser.see(&["live, ", "Busiest topics"]);
    writing.abort();
    drop(member);
    drop(program);
    cluster.broker.shutdown().await;
    browser.see(&["The cluster cannot be reached.", "What you see is as of", "not live"]);
    browser.open(&page("#/topics"));
    browser.see(&["The cluster cannot be reached."]);
}
