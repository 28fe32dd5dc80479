"""Brokers under measurement: Apache Kafka's or, by its program, ours; with a listener that is secured beside the plain one.

The plain listener is at a port P, the secured one at P + 1. Keys and certificates are made once, into the cache.
"""
import os, socket, subprocess, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
KAFKA = os.path.join(HERE, "kafka")
SECURITY = ("SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISM, USER, SECRET = "SCRAM-SHA-256", "bench", "bench-secret"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required"


def cache():
    return subprocess.check_output(["bash", "-c", '. "$0/env.sh"; echo "$PEERS_CACHE"', KAFKA], text=True).strip()


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def keys():
    """The folder of an authority (ca.pem, ca.p12) and of what a broker on 127.0.0.1 shows (broker.p12)."""
    folder = os.path.join(cache(), "keys")
    if not os.path.exists(folder):
        new = tempfile.mkdtemp(dir=cache())
        at = lambda name: os.path.join(new, name)
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=ca", "-keyout", at("ca.key"), "-out", at("ca.pem"))
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", at("broker.key"), "-out", at("broker.csr"))
        with open(at("san"), "w") as f:
            f.write("subjectAltName=DNS:localhost,IP:127.0.0.1")
        run("openssl", "x509", "-req", "-in", at("broker.csr"), "-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-days", "3650",
            "-out", at("broker.crt"), "-extfile", at("san"))
        run("openssl", "pkcs12", "-export", "-in", at("broker.crt"), "-inkey", at("broker.key"), "-name", "broker", "-out", at("broker.p12"),
            "-passout", "pass:" + SECRET)
        run("keytool", "-importcert", "-noprompt", "-alias", "ca", "-file", at("ca.pem"), "-keystore", at("ca.p12"), "-storetype", "PKCS12",
            "-storepass", SECRET)
        os.rename(new, folder)
    return folder


def client(security, pem=False):
    """Settings of a client by Kafka's keys; with pem by librdkafka's."""
    if not security:
        return {}
    s = {"security.protocol": security}
    if security.endswith("SSL"):
        s.update({"ssl.ca.location": keys() + "/ca.pem"} if pem else {"ssl.truststore.location": keys() + "/ca.p12", "ssl.truststore.type": "PKCS12",
                                                                     "ssl.truststore.password": SECRET})
    if security.startswith("SASL"):
        s["sasl.mechanism"] = MECHANISM
        s.update({"sasl.username": USER, "sasl.password": SECRET} if pem else {"sasl.jaas.config": f'{SCRAM} username="{USER}" password="{SECRET}";'})
    return s


def client_file(security, pem=False):
    path = os.path.join(cache(), f"client-{security}{'-pem' if pem else ''}.properties")
    with open(path, "w") as f:
        f.writelines(f"{k}={v}\n" for k, v in client(security, pem).items())
    return path


def settings(port, security, more=""):
    """Settings of a broker."""
    both = f"PLAINTEXT://127.0.0.1:{port},SECURED://127.0.0.1:{port + 1}"
    s = {"listeners": both + more, "advertised.listeners": both,
         "listener.security.protocol.map": f"PLAINTEXT:PLAINTEXT,SECURED:{security},CONTROLLER:PLAINTEXT"}
    if security.endswith("SSL"):
        s.update({"ssl.keystore.location": keys() + "/broker.p12", "ssl.keystore.type": "PKCS12", "ssl.keystore.password": SECRET, "ssl.key.password": SECRET})
    if security.startswith("SASL"):
        s.update({"sasl.enabled.mechanisms": MECHANISM, f"listener.name.secured.{MECHANISM.lower()}.sasl.jaas.config": SCRAM + ";"})
    return s


class Broker:
    """One that is started, and stopped with its data wiped. `bootstrap` is its plain listener, `secured` the one to measure."""

    def __init__(self, port, security=None, program=None, heap="1g"):
        self.port, self.program, self.process = port, program, None
        self.bootstrap = self.secured = f"127.0.0.1:{port}"
        if program:
            self.name = "vltava"
            self.data = tempfile.TemporaryDirectory(prefix="broker-bench-")
            s = settings(port, security) if security else {"listeners": f"PLAINTEXT://{self.bootstrap}"}
            s.update({"log.dirs": self.data.name + "/data", "group.initial.rebalance.delay.ms": "0"})    # as the script starts Apache's
            self.process = subprocess.Popen([program, "broker", *(x for k, v in s.items() for x in ("--override", f"{k}={v}"))], stdout=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL)
            self.pid = self.process.pid
            end = time.time() + 30
            while time.time() < end and not self.answers():
                time.sleep(0.02)
        else:
            self.name = "apache-kafka"
            s = settings(port, security, f",CONTROLLER://127.0.0.1:{port + 10}") if security else {}
            self.apache("start", "--fresh", "--heap", heap, *(x for k, v in s.items() for x in ("--set", f"{k}={v}")))
            self.pid = int(self.apache("pid").split()[0])
        if security:
            self.secured = f"127.0.0.1:{port + 1}"
            run(os.path.join(KAFKA, "tool"), "kafka-configs", "--bootstrap-server", self.bootstrap, "--alter", "--entity-type", "users", "--entity-name", USER,
                "--add-config", f"{MECHANISM}=[password={SECRET}]")

    def apache(self, verb, *options):
        return subprocess.check_output([os.path.join(KAFKA, "broker"), verb, "--port", str(self.port), *options], text=True)

    def answers(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.data.cleanup()
        else:
            self.apache("stop", "--wipe")
