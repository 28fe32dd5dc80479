"""kafka-python over listeners: admin, transactions, a consumer's group, offsets by time."""
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from listener import PATIENCE, all_of, run

PARTITIONS = 3


def settings(listener):
    return {
        "bootstrap_servers": listener.bootstrap,
        "security_protocol": listener.protocol,
        "ssl_cafile": listener.authority,
        "ssl_certfile": listener.key,
        "sasl_mechanism": listener.mechanism,
        "sasl_plain_username": listener.user,
        "sasl_plain_password": listener.password,
    }


def exchange(listener):
    common, topic = settings(listener), listener.topic
    admin = KafkaAdminClient(**common)
    admin.create_topics([NewTopic(name=topic, num_partitions=PARTITIONS, replication_factor=1)])
    producer = KafkaProducer(**common, transactional_id=topic)
    producer.init_transactions()
    sent, seen = set(), set()
    for values in listener.transactions():
        producer.begin_transaction()
        futures = [producer.send(topic, key=value, value=value) for value in values]
        producer.commit_transaction()
        assert all(future.get(PATIENCE).offset >= 0 for future in futures)
        sent.update(values)
    producer.close()

    consumer = KafkaConsumer(topic, **common, group_id=topic, auto_offset_reset="earliest", enable_auto_commit=False, isolation_level="read_committed")
    begun = time.monotonic()
    while not all_of(sent, seen, begun):
        seen.update(record.value for records in consumer.poll(1000).values() for record in records)
    consumer.commit()
    partitions = [TopicPartition(topic, p) for p in range(PARTITIONS)]
    # The marker of a transaction has an offset of its own.
    assert len(sent) <= sum(consumer.committed(p) for p in partitions) <= sum(consumer.end_offsets(partitions).values())
    # A partition that got nothing has no offset for a time.
    assert {0} <= {found.offset for found in consumer.offsets_for_times({p: 0 for p in partitions}).values() if found} <= {0}
    consumer.close()
    admin.delete_topics([topic])
    admin.close()


run(exchange)
