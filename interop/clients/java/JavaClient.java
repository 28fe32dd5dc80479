import java.io.IOException;
import java.io.OutputStream;
import java.io.Reader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Apache Kafka's clients over listeners; see ../README.md. */
public final class JavaClient {
    private static final int RECORDS = 100;
    private static final CountDownLatch ENDED = new CountDownLatch(1);

    public static void main(String[] args) {
        Thread watch = new Thread(JavaClient::awaitEnd);
        watch.setDaemon(true);
        watch.start();
        for (String path : List.of(args).subList(1, args.length)) {
            String file = Path.of(path).getFileName().toString().replace(".properties", "");
            try {
                exchange(path, file, args[0] + "-" + file);
                System.out.println("ok " + file);
            } catch (IOException | InterruptedException | RuntimeException error) {
                System.out.println("failed " + file + ": " + error);
            }
        }
    }

    private static void awaitEnd() {
        try {
            System.in.transferTo(OutputStream.nullOutputStream());
        } catch (IOException error) {
            System.err.println(error);
        }
        ENDED.countDown();
    }

    private static Properties settings(String path, String... more) throws IOException {
        Properties settings = new Properties();
        try (Reader reader = Files.newBufferedReader(Path.of(path))) {
            settings.load(reader);
        }
        for (int i = 0; i < more.length; i += 2) {
            settings.setProperty(more[i], more[i + 1]);
        }
        return settings;
    }

    private static void exchange(String path, String file, String topic) throws IOException, InterruptedException {
        Set<String> sent = new HashSet<>(), seen = new HashSet<>();
        Properties producing = settings(path, "transactional.id", topic);
        try (var producer = new KafkaProducer<>(producing, new StringSerializer(), new StringSerializer())) {
            producer.initTransactions();
            do {
                boolean isFirst = sent.isEmpty();
                producer.beginTransaction();
                for (int i = 0; i < RECORDS; i++) {
                    String value = Integer.toString(sent.size());
                    producer.send(new ProducerRecord<>(topic, value, value));
                    sent.add(value);
                }
                producer.commitTransaction();
                if (isFirst) {
                    System.out.println("producing " + file);
                }
            } while (!ENDED.await(50, TimeUnit.MILLISECONDS));
        }
        Properties consuming = settings(path, "group.id", topic, "auto.offset.reset", "earliest", "enable.auto.commit", "false",
            "isolation.level", "read_committed");
        try (var consumer = new KafkaConsumer<>(consuming, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            long end = System.nanoTime() + Duration.ofSeconds(30).toNanos();
            while (!seen.equals(sent)) {
                if (System.nanoTime() > end) {
                    throw new IllegalStateException("read " + seen.size() + " of " + sent.size() + " records");
                }
                consumer.poll(Duration.ofSeconds(1)).forEach(record -> seen.add(record.value()));
            }
            consumer.commitSync();
        }
    }
}
