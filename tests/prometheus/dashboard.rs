//! The dashboard and the alerts of the guide, as Prometheus understands them.

use std::process::Command;

use serde_json::Value;

use crate::server::{Prometheus, Target, installed};
use crate::world;

/// All expressions of the dashboard, and queries of its variables' metrics, for any value of the
/// variables.
fn expressions() -> Vec<String> {
    let dashboard = include_str!("../../docs/grafana.json");
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let shown = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let queries = variables.filter(|variable| variable["type"] == "query").map(|variable| {
        let query = variable["query"].as_str().unwrap();
        let inside = query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
        inside.rsplit_once(", ").unwrap().0.to_owned()
    });
    let all = shown.chain(queries).map(|expression| {
        ["$job", "$instance", "$function"]
            .iter()
            .fold(expression.replace("$__rate_interval", "1m"), |it, name| it.replace(name, ".*"))
    });
    all.collect()
}

/// Whether an expression may have no result: what counts seconds must have been counted twice.
fn may_be_empty(expression: &str) -> bool {
    expression.contains("rate(") || expression.contains("easyremote_streams_")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_expression_of_the_dashboard_means_something() {
    if !installed() {
        return;
    }
    let (world, node, client) = world().await;
    let gateway = Target::serve("gateway", move |format| world.gateway.metrics_in(format)).await;
    let node = Target::serve("node", move |format| node.metrics_in(format)).await;
    let client = Target::serve("client", move |format| client.metrics_in(format)).await;
    let prometheus = Prometheus::start(&[&gateway, &node, &client]).await;
    let expressions = expressions();
    assert!(expressions.len() > 30);
    for expression in expressions {
        assert!(!expression.contains('$'), "{expression}");
        let answer = prometheus.query(&expression).await.unwrap();
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let found = answer["data"]["result"].as_array().unwrap();
        assert!(!found.is_empty() || may_be_empty(&expression), "{expression} finds nothing");
    }
}

#[test]
fn the_alerts_are_rules() {
    if !installed() {
        return;
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alerts.yml");
    let said = Command::new("promtool").args(["check", "rules", file]).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}
