"""confluent-kafka (librdkafka) against the broker at argv[1]: admin, producer, consumer group, commits."""
import os
import sys

sys.path = [p for p in sys.path if os.path.abspath(p or ".") != os.path.dirname(os.path.abspath(__file__))]
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

boot, topic, n = sys.argv[1], "py-confluent", 2000
admin = AdminClient({"bootstrap.servers": boot})
for future in admin.create_topics([NewTopic(topic, num_partitions=3, replication_factor=1)]).values():
    future.result(10)
assert topic in admin.list_topics(timeout=10).topics

failed = []
producer = Producer({"bootstrap.servers": boot, "enable.idempotence": True, "compression.type": "lz4"})
for i in range(n):
    producer.produce(topic, key=f"k{i}", value=f"v{i}", headers=[("h", b"x")], on_delivery=lambda e, m: e and failed.append(e))
producer.flush(20)
assert not failed, failed

seen = set()
consumer = Consumer({"bootstrap.servers": boot, "group.id": "py-confluent", "auto.offset.reset": "earliest", "enable.auto.commit": False})
consumer.subscribe([topic])
while len(seen) < n:
    m = consumer.poll(10)
    assert m is not None and m.error() is None, m and m.error()
    assert m.headers() == [("h", b"x")]
    seen.add(m.value())
consumer.commit(asynchronous=False)
committed = consumer.committed([TopicPartition(topic, p) for p in range(3)], timeout=10)
assert sum(p.offset for p in committed) == n, committed
consumer.close()
print("ok")
