"""librdkafka (confluent-kafka) over listeners: admin, transactions, a consumer's group."""
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from listener import PATIENCE, all_of, run

PARTITIONS = 3


def settings(listener):
    of_its_own = {
        "bootstrap.servers": listener.bootstrap,
        "security.protocol": listener.protocol,
        "ssl.ca.location": listener.authority,
        "ssl.certificate.location": listener.key,
        "ssl.key.location": listener.key,
        "sasl.mechanism": listener.mechanism,
        "sasl.username": listener.user,
        "sasl.password": listener.password,
    }
    return {key: value for key, value in of_its_own.items() if value is not None}


def exchange(listener):
    common, topic, failed = settings(listener), listener.topic, []
    admin = AdminClient(common)
    for future in admin.create_topics([NewTopic(topic, num_partitions=PARTITIONS, replication_factor=1)]).values():
        future.result(PATIENCE)
    assert topic in admin.list_topics(timeout=PATIENCE).topics

    producer = Producer({**common, "transactional.id": topic, "compression.type": "lz4"})
    producer.init_transactions(PATIENCE)
    sent, seen = set(), set()
    for values in listener.transactions():
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, key=value, value=value, headers=[("h", b"x")], on_delivery=lambda e, m: e and failed.append(e))
        producer.commit_transaction(PATIENCE)
        assert not failed, failed
        sent.update(values)

    consumer = Consumer({**common, "group.id": topic, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe([topic])
    begun = time.monotonic()
    while not all_of(sent, seen, begun):
        for message in consumer.consume(1000, 1):
            assert message.error() is None and message.headers() == [("h", b"x")], message.error()
            seen.add(message.value())
    consumer.commit(asynchronous=False)
    committed = consumer.committed([TopicPartition(topic, p) for p in range(PARTITIONS)], timeout=PATIENCE)
    # The marker of a transaction has an offset of its own.
    assert sum(p.offset for p in committed) >= len(sent), committed
    consumer.close()


run(exchange)
