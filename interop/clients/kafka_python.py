"""kafka-python against the broker at argv[1]: admin, producer, consumer group, commits, offsets by time."""
import os
import sys

sys.path = [p for p in sys.path if os.path.abspath(p or ".") != os.path.dirname(os.path.abspath(__file__))]
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

boot, topic, n = sys.argv[1], "py-kafka", 2000
admin = KafkaAdminClient(bootstrap_servers=boot)
admin.create_topics([NewTopic(name=topic, num_partitions=3, replication_factor=1)])
producer = KafkaProducer(bootstrap_servers=boot, acks="all")
futures = [producer.send(topic, key=b"k%d" % i, value=b"v%d" % i) for i in range(n)]
producer.flush(20)
assert all(f.get(10).offset >= 0 for f in futures)

consumer = KafkaConsumer(topic, bootstrap_servers=boot, group_id="py-kafka", auto_offset_reset="earliest", enable_auto_commit=False, consumer_timeout_ms=20000)
seen = set()
for m in consumer:
    seen.add(m.value)
    if len(seen) == n:
        break
assert len(seen) == n, len(seen)
consumer.commit()
parts = [TopicPartition(topic, p) for p in range(3)]
assert sum(consumer.committed(p) for p in parts) == n
assert sum(consumer.end_offsets(parts).values()) == n
assert all(o.offset == 0 for o in consumer.offsets_for_times({p: 0 for p in parts}).values())
consumer.close()
admin.delete_topics([topic])
admin.close()
print("ok")
