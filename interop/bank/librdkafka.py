"""The bank's client on librdkafka (confluent-kafka); see README.md."""
import os
import random
import sys
import time

from confluent_kafka import KafkaException, Producer

bootstrap, name, partition, partitions, accounts = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
prefix = f"{name}-{time.time_ns() ^ os.getpid():x}-"
WAIT = 60  # seconds that a call may take, while the broker is away


def say(text):
    print(text, flush=True)


def retried(call):
    """A call that librdkafka wants repeated as it is is repeated."""
    while True:
        try:
            return call()
        except KafkaException as error:
            if not error.args[0].retriable():
                raise
            say(f"again: {error.args[0]}")


def opened():
    producer = Producer({
        "bootstrap.servers": bootstrap,
        "transactional.id": f"bank-{name}",
        "transaction.timeout.ms": 10000,
        "reconnect.backoff.max.ms": 500,
        "linger.ms": 0,
    })
    retried(lambda: producer.init_transactions(WAIT))
    return producer


producer, number = None, 0
while True:
    aborts = random.randrange(10) == 0
    transfer = f"{prefix}{number}" + ("-aborted" if aborts else "")
    number += 1
    start = random.randrange(accounts)
    end = (start + 1 + random.randrange(accounts - 1)) % accounts
    amount = random.randint(1, 100)
    try:
        if producer is None:
            producer = opened()
        producer.begin_transaction()
        for account, change in ((start, -amount), (end, amount)):
            producer.produce("ledger", key=transfer, value=f"{account}:{change}", partition=partition)
            producer.produce("accounts", key=transfer, value=f"{account}:{change}", partition=account % partitions)
        if aborts:
            retried(lambda: producer.abort_transaction(WAIT))
        else:
            retried(lambda: producer.commit_transaction(WAIT))
            say(f"committed {transfer}")
    except KafkaException as error:
        say(f"failed {transfer}: {error.args[0]}")
        try:
            if producer is not None and error.args[0].txn_requires_abort():
                retried(lambda: producer.abort_transaction(WAIT))
            else:
                producer = None
        except KafkaException as fatal:
            say(f"anew: {fatal.args[0]}")
            producer = None
        time.sleep(0.1)
    time.sleep(0.005)
