import java.util.Map;
import java.util.Random;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.StringSerializer;

/** The bank's client on Apache Kafka's producer; see ../README.md. */
public final class BankClient {
    public static void main(String[] args) throws InterruptedException {
        String bootstrap = args[0], name = args[1];
        int partition = Integer.parseInt(args[2]), partitions = Integer.parseInt(args[3]), accounts = Integer.parseInt(args[4]);
        String prefix = name + "-" + Long.toHexString(System.nanoTime() ^ ProcessHandle.current().pid()) + "-";
        Random random = new Random();
        KafkaProducer<String, String> producer = null;
        for (long number = 0;; number++) {
            boolean aborts = random.nextInt(10) == 0;
            String id = prefix + number + (aborts ? "-aborted" : "");
            int from = random.nextInt(accounts), to = (from + 1 + random.nextInt(accounts - 1)) % accounts;
            int amount = 1 + random.nextInt(100);
            try {
                if (producer == null) {
                    producer = open(bootstrap, name);
                }
                producer.beginTransaction();
                for (String entry : new String[] {from + ":-" + amount, to + ":" + amount}) {
                    int account = Integer.parseInt(entry.split(":")[0]);
                    producer.send(new ProducerRecord<>("ledger", partition, id, entry));
                    producer.send(new ProducerRecord<>("accounts", account % partitions, id, entry));
                }
                if (aborts) {
                    retried(producer::abortTransaction);
                } else {
                    retried(producer::commitTransaction);
                    System.out.println("committed " + id);
                }
            } catch (RuntimeException error) {
                System.out.println("failed " + id + ": " + error);
                producer = abort(producer);
                Thread.sleep(100);
            }
            Thread.sleep(5);
        }
    }

    /** What takes too long is to be called again, and nothing else may be called before. */
    private static void retried(Runnable call) {
        while (true) {
            try {
                call.run();
                return;
            } catch (TimeoutException error) {
                System.out.println("again: " + error);
            }
        }
    }

    /** The producer, if it can go on. */
    private static KafkaProducer<String, String> abort(KafkaProducer<String, String> producer) {
        if (producer == null) {
            return null;
        }
        try {
            retried(producer::abortTransaction);
            return producer;
        } catch (RuntimeException error) {
            System.out.println("anew: " + error);
            producer.close(java.time.Duration.ZERO);
            return null;
        }
    }

    private static KafkaProducer<String, String> open(String bootstrap, String name) {
        KafkaProducer<String, String> producer = new KafkaProducer<>(
            Map.of("bootstrap.servers", bootstrap, "transactional.id", "bank-" + name, "transaction.timeout.ms", "10000"),
            new StringSerializer(), new StringSerializer());
        try {
            retried(producer::initTransactions);
            return producer;
        } catch (RuntimeException error) {
            producer.close(java.time.Duration.ZERO);
            throw error;
        }
    }
}
