//! Whom the console does not answer, and what it says where there is nothing to see.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use vltava_console::{Console, ConsoleConfig, ConsoleError, Login};

use super::cluster::{Cluster, ask, console};

#[tokio::test]
async fn what_is_not_there_is_said() {
    let cluster = Cluster::start().await;
    let cases = [
        ("/api/topics/none", 404, "missing", "there is no topic `none`"),
        ("/api/topics/a%20b%3C", 404, "missing", "there is no topic `a b<`"),
        ("/api/topics/none/configs", 404, "missing", ""),
        ("/api/topics/none/records", 404, "missing", "there is no topic `none`"),
        ("/api/groups/none", 404, "missing", "there is no group `none`"),
        ("/api/groups/none/reset", 404, "missing", "there is no group `none`"),
        ("/api/nothing", 404, "missing", "there is nothing at /api/nothing"),
        ("/api/topics?size=0", 400, "asked", "`size` is 0: must be a number from 1 to 1000"),
        ("/api/topics?sort=colour", 400, "asked", "`sort` is colour: must be one of name, partitions, rate, size"),
        ("/api/overview?x=1", 400, "asked", "there is no parameter `x` here"),
        ("/api/topics/%ff", 400, "asked", "`%ff` is no text"),
    ];
    for (path, status, kind, words) in cases {
        let (found, problem) = cluster.problem(path).await;
        assert_eq!((found, &problem["kind"]), (status, &json!(kind)), "{path}: {problem}");
        assert!(problem["cause"].as_str().unwrap().starts_with(words), "{path}: {problem}");
    }
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_said() {
    // A port that nobody listens on: it is free, and was given to this listener a moment ago.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let servers = taken.local_addr().unwrap().to_string();
    drop(taken);
    let at = console(ConsoleConfig::new([("bootstrap.servers", servers.as_str())])).await;
    // Those that need a sample wait for one and the same.
    let paths = ["/api/overview", "/api/topics", "/api/groups", "/api/brokers", "/api/topics/t/records"];
    let asked: Vec<_> = paths.map(|path| tokio::spawn(async move { (path, ask(at, "GET", path, "").await) })).into();
    for answer in asked {
        let (path, answer) = answer.await.unwrap();
        let problem = answer.json()["problem"].clone();
        assert_eq!((answer.status, &problem["kind"]), (502, &json!("unreachable")), "{path}: {problem}");
    }
    // The page itself is there, and says it.
    assert_eq!(ask(at, "GET", "/", "").await.status, 200);
}

#[tokio::test]
async fn only_those_who_may_are_answered_and_only_to_read() {
    let servers = [("bootstrap.servers", "127.0.0.1:1")];
    let login = Login::new("ada", "lovelace").unwrap();
    let at = console(ConsoleConfig::new(servers).login(login)).await;
    let authorization = format!("authorization: Basic {}\r\n", STANDARD.encode("ada:lovelace"));
    let rebound = ask(at, "GET", "/", &format!("host: evil.example\r\n{authorization}")).await;
    assert_eq!(rebound.status, 421);
    let unknown = ask(at, "GET", "/", "").await;
    assert!(unknown.status == 401 && unknown.head.contains("www-authenticate: basic realm="), "{}", unknown.head);
    let posted = ask(at, "POST", "/api/topics", &authorization).await;
    assert!(posted.status == 405 && posted.head.contains("allow: get, head"), "{}", posted.head);
    let page = ask(at, "GET", "/", &authorization).await;
    assert_eq!(page.status, 200);
    for answer in [rebound, unknown, posted, page] {
        assert!(
            answer.head.contains("content-security-policy: default-src 'none'; script-src 'self';"),
            "{}",
            answer.head
        );
        assert!(answer.head.contains("x-content-type-options: nosniff"));
        assert!(answer.head.contains("cache-control: no-store"));
    }
}

#[tokio::test]
async fn an_address_that_others_reach_needs_a_login() {
    let config = || ConsoleConfig::new([("bootstrap.servers", "127.0.0.1:1")]).address(([0, 0, 0, 0], 0).into());
    let refused = Console::bind(config()).await.unwrap_err();
    assert!(matches!(&refused, ConsoleError::Refused { reason } if reason.contains("other machines reach 0.0.0.0:0")));
    Console::bind(config().without_authentication()).await.unwrap();
    let wrong = Console::bind(ConsoleConfig::new([("bootstrap.servers", "")])).await.unwrap_err();
    assert!(matches!(wrong, ConsoleError::Client(_)), "{wrong}");
}
