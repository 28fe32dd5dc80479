//! The same requests as Apache Kafka 4.3.1 was sent, and its answers, field by field.
//!
//! `recorded/` holds what Apache Kafka answered, with names in place of ids and addresses. To have it answer again, and
//! to record a new case, start one by `interop/peers/kafka/broker start --port P --fresh --set
//! group.consumer.assignment.interval.ms=0 --set group.streams.assignment.interval.ms=0 --set transaction.abort.timed.out.transaction.cleanup.interval.ms=100`, and run these tests with `APACHE_KAFKA=127.0.0.1:P` and
//! `--test-threads 1`. The cases of `rights.rs` are recorded from one that has besides `--set
//! authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer --set allow.everyone.if.no.acl.found=true
//! --set auto.create.topics.enable=true`, by `APACHE_KAFKA_WITH_ACLS`. For `sasl.rs` it is another one, `--set
//! 'listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:SASL_PLAINTEXT' --set
//! sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512 --set sasl.mechanism.inter.broker.protocol=PLAIN --set
//! connections.max.reauth.ms=3600000` with the users of `transcript::check_with_sasl` in
//! `listener.name.plaintext.plain.sasl.jaas.config` and a ScramLoginModule for each SCRAM, in `APACHE_KAFKA_WITH_SASL`. What
//! differs on purpose stands in `deviations.txt`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failure of a helper fails its test")]

mod cluster;
mod consumer_groups;
mod features;
mod groups;
mod offsets_of_members;
mod partitions;
mod producers;
mod quotas;
mod rights;
mod sasl;
mod streams_groups;
#[path = "../support/mod.rs"]
mod support;
mod topics;
mod transactions;
mod transcript;

use transcript::{check, check_access, check_with_sasl};

#[test]
fn classic_groups_and_their_wrong_requests() {
    check("classic_groups", groups::classic);
}

#[test]
fn offsets_of_groups_and_their_wrong_requests() {
    check("group_offsets", groups::offsets);
}

#[test]
fn consumer_groups_from_join_to_leave() {
    check("consumer_groups", consumer_groups::life);
}

#[test]
fn consumer_groups_by_regular_expression() {
    check("consumer_groups_by_regex", consumer_groups::by_regex);
}

#[test]
fn wrong_requests_of_consumer_groups() {
    check("consumer_group_errors", consumer_groups::errors);
}

#[test]
fn members_that_give_partitions_up() {
    check("consumer_group_rebalance", consumer_groups::rebalance);
}

#[test]
fn streams_groups_from_join_to_leave() {
    check("streams_groups", streams_groups::life);
}

#[test]
fn streams_groups_and_their_topics() {
    check("streams_group_topics", streams_groups::topics);
}

#[test]
fn wrong_requests_of_streams_groups() {
    check("streams_group_errors", streams_groups::errors);
}

#[test]
fn topics_and_their_wrong_requests() {
    check("topics", topics::life);
}

#[test]
fn settings_and_their_wrong_requests() {
    check("settings", topics::settings);
}

#[test]
fn settings_that_may_be_changed_of_one_broker_and_of_all() {
    check("dynamic_keys", topics::dynamic_keys);
}

#[test]
fn partitions_and_their_wrong_requests() {
    check("partitions", partitions::wrong);
}

#[test]
fn producers_and_what_partitions_know_of_them() {
    check("producers", producers::life);
}

#[test]
fn offsets_that_members_of_consumer_groups_commit_in_transactions() {
    check("offsets_of_members", offsets_of_members::talk);
}

#[test]
fn features_and_their_wrong_requests() {
    check("features", features::changes);
}

#[test]
fn the_cluster_and_its_wrong_requests() {
    check("cluster", cluster::questions);
}

#[test]
fn transactions_of_clients_before_kip_890() {
    check("transactions_of_old_clients", transactions::old_clients);
}

#[test]
fn transactions_of_clients_since_kip_890() {
    check("transactions_of_new_clients", transactions::new_clients);
}

#[test]
fn questions_about_transactions_and_wrong_requests() {
    check("transaction_questions", transactions::questions);
}

#[test]
fn transactions_that_take_too_long() {
    check("transaction_time_out", transactions::time_out);
}

#[test]
fn what_is_not_served() {
    check("not_served", cluster::not_served);
}

#[test]
fn every_api_without_its_rights_with_others_with_denials_and_with_them() {
    check_access("rights", rights::matrix);
}

#[test]
fn access_control_lists_without_an_authorizer() {
    check("no_access_control", rights::lists::no_authorizer);
}

#[test]
fn access_control_lists_and_their_wrong_requests() {
    check_access("access_control_lists", rights::lists::lists);
}

#[test]
fn quotas_of_clients_and_wrong_requests_for_them() {
    check("quotas", quotas::life);
}

#[test]
fn what_a_quota_does() {
    check("throttling", quotas::throttling);
}

#[test]
fn users_of_scram_and_wrong_requests_for_them() {
    check("users", sasl::users);
}

#[test]
fn a_listener_that_asks_for_nothing() {
    check("sasl_on_plaintext", sasl::on_plaintext);
}

#[test]
fn who_comes_in_and_who_does_not() {
    check_with_sasl("sasl", sasl::conversations);
}
