"""What the clients in Python have in common: see README.md."""
import os
import re
import sys
import threading
import time

RECORDS = 100
PATIENCE = 30  # seconds

ended = threading.Event()


def _watch():
    while sys.stdin.buffer.read1():
        pass
    ended.set()


class Listener:
    """One file of settings: attributes that are None where the listener does not need them."""

    def __init__(self, name, path):
        kafka = dict(line.rstrip("\n").split("=", 1) for line in open(path) if "=" in line)
        jaas = dict(re.findall(r'(\w+)="(.*?)"', kafka.get("sasl.jaas.config", "")))
        self.file = os.path.basename(path).removesuffix(".properties")
        self.topic = f"{name}-{self.file}"
        self.bootstrap = kafka["bootstrap.servers"]
        self.protocol = kafka.get("security.protocol", "PLAINTEXT")
        self.authority = kafka.get("ssl.truststore.location")
        self.key = kafka.get("ssl.keystore.location")
        self.mechanism = kafka.get("sasl.mechanism")
        self.user, self.password = jaas.get("username"), jaas.get("password")

    def transactions(self):
        """The values of each."""
        number = 0
        while number == 0 or not ended.wait(0.05):
            yield [b"%d" % (number * RECORDS + i) for i in range(RECORDS)]
            if number == 0:
                print(f"producing {self.file}", flush=True)
            number += 1


def run(exchange):
    threading.Thread(target=_watch, daemon=True).start()
    for path in sys.argv[2:]:
        listener = Listener(sys.argv[1], path)
        try:
            exchange(listener)
            print(f"ok {listener.file}", flush=True)
        except Exception as error:
            print(f"failed {listener.file}: {error!r}", flush=True)


def all_of(values, seen, begun):
    """Whether all are there; an error when they should have been long ago."""
    assert time.monotonic() - begun < PATIENCE, f"read {len(seen)} of {len(values)} records"
    return seen == values
