import java.util.*;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.common.metrics.*;
import org.apache.kafka.common.metrics.stats.*;
import org.apache.kafka.common.metrics.stats.Percentiles.BucketSizing;

/**
 * What Kafka's statistics say of the same recordings, one line for each time at which was measured:
 * {@code java -cp JARS StatValues.java}, with the jars that interop/peers/kafka/fetch gets. What it printed is
 * crates/metrics/src/stats/kafka.txt.
 */
public final class StatValues {
    /** time in ms, value; a value of NaN is a time at which nothing is recorded, only measured. */
    static final double[][][] RUNS = {
        {{0, 3}, {100, 5}, {29_999, -2}, {30_000, 7}, {45_000, Double.NaN}, {60_000, 1}, {89_999, Double.NaN},
         {90_000, Double.NaN}, {200_000, Double.NaN}, {200_001, 4}, {200_002, Double.NaN}, {500_000, Double.NaN}},
        {{1_000, 1}, {31_000, 2}, {61_000, 4}, {91_000, 8}, {121_000, 16}, {121_001, Double.NaN}, {150_999, Double.NaN},
         {151_000, Double.NaN}, {180_000, Double.NaN}, {181_000, Double.NaN}},
        {{5, Double.NaN}, {10, 0}, {20, 1e9}, {25_000, 0.25}, {70_000, 12}, {70_000, 13}, {100_000, Double.NaN},
         {130_000, Double.NaN}},
    };
    static final int[][] CONFIGS = {{2, 30_000}, {1, 30_000}, {5, 1_000}, {3, 60_000}};

    public static void main(String[] args) {
        for (int run = 0; run < RUNS.length; run++) {
            for (int[] sampling : CONFIGS) {
                MetricConfig config = new MetricConfig().samples(sampling[0]).timeWindow(sampling[1], TimeUnit.MILLISECONDS);
                Map<String, MeasurableStat> stats = new LinkedHashMap<>();
                stats.put("avg", new Avg());
                stats.put("max", new Max());
                stats.put("min", new Min());
                stats.put("rate", new Rate());
                stats.put("rate-of-events", new Rate(new WindowedCount()));
                stats.put("rate-per-hour", new Rate(TimeUnit.HOURS, new WindowedCount(), 1));
                stats.put("ratio", new Rate(TimeUnit.NANOSECONDS));
                stats.put("sum", new CumulativeSum());
                stats.put("count", new CumulativeCount());
                stats.put("value", new Value());
                stats.put("windowed-sum", new WindowedSum());
                stats.put("windowed-count", new WindowedCount());
                Percentiles constant = new Percentiles(400, 0, 100, BucketSizing.CONSTANT);
                Percentiles linear = new Percentiles(400, 100, BucketSizing.LINEAR);
                if (run == 0 && sampling == CONFIGS[0])
                    System.out.println("run samples window-ms now-ms recorded " + String.join(" ", stats.keySet())
                        + " constant-0 constant-50 constant-99 linear-0 linear-50 linear-99");
                for (double[] event : RUNS[run]) {
                    long now = (long) event[0];
                    StringJoiner line = new StringJoiner(" ");
                    line.add(run + " " + sampling[0] + " " + sampling[1] + " " + now + " " + event[1]);
                    if (!Double.isNaN(event[1])) {
                        for (MeasurableStat stat : stats.values()) stat.record(config, event[1], now);
                        constant.record(config, event[1], now);
                        linear.record(config, event[1], now);
                    }
                    for (MeasurableStat stat : stats.values()) line.add("" + stat.measure(config, now));
                    for (Percentiles percentiles : List.of(constant, linear))
                        for (double quantile : new double[] {0.0, 0.5, 0.99}) line.add("" + percentiles.value(config, now, quantile));
                    // As Rust writes them.
                    System.out.println(line.toString().replace("-Infinity", "-inf").replace("Infinity", "inf"));
                }
            }
        }
    }
}
