import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import javax.management.JMException;
import javax.management.MBeanServer;
import javax.management.ObjectName;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.metrics.KafkaMetric;
import org.apache.kafka.common.metrics.MetricsReporter;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * How many records each consumer group is behind in each topic, as MBeans {@code bookstore.kafka:type=GroupLag,group=...,topic=...}: the
 * broker keeps what groups have read, and has no figure for what is left. A plug-in of the broker ({@code metric.reporters}), because a
 * process of its own would take fifty times the memory. What cannot be read has no MBean: a figure of before would look like a fresh one.
 */
public final class GroupLag implements MetricsReporter {
  private static final Logger LOG = LoggerFactory.getLogger(GroupLag.class);
  private static final long PERIOD_MS = 15_000;
  private static final int TIMEOUT_MS = 10_000;
  private static final int MOST_FIGURES = 500;
  // Broker and controller of one process both make their reporters.
  private static final AtomicBoolean STARTED = new AtomicBoolean();

  private final Map<ObjectName, Lag> shown = new HashMap<>();
  private Thread thread;

  /** What the agent reads. */
  public interface LagMBean {
    long getRecords();
  }

  /** One figure. */
  public static final class Lag implements LagMBean {
    private volatile long records;

    @Override
    public long getRecords() {
      return records;
    }
  }

  @Override
  public void configure(Map<String, ?> settings) {
    Object server = settings.get("group.lag.bootstrap.servers");
    if (server == null || !STARTED.compareAndSet(false, true)) {
      return;
    }
    thread = new Thread(() -> run(server.toString()), "group-lag");
    thread.setDaemon(true);
    thread.start();
  }

  private void run(String server) {
    boolean failed = false;
    try {
      // Not before the broker serves: the client would complain each second.
      Thread.sleep(PERIOD_MS);
      try (Admin admin = Admin.create(Map.of(
          "bootstrap.servers", server, "client.id", "group-lag", "default.api.timeout.ms", TIMEOUT_MS, "request.timeout.ms", TIMEOUT_MS / 2))) {
        while (true) {
          try {
            show(read(admin));
            failed = false;
          } catch (ExecutionException | JMException error) {
            show(Map.of());
            if (!failed) {
              LOG.warn("the groups' lag cannot be read: {}", String.valueOf(error.getCause() == null ? error : error.getCause()));
            }
            failed = true;
          }
          Thread.sleep(PERIOD_MS);
        }
      }
    } catch (InterruptedException end) {
      Thread.currentThread().interrupt();
    } catch (JMException | RuntimeException error) {
      LOG.warn("the groups' lag is not measured any more", error);
    }
  }

  private static Map<ObjectName, Long> read(Admin admin) throws ExecutionException, InterruptedException, JMException {
    // Before the ends: a group that is at work meanwhile must not seem to be beyond them.
    Map<String, Map<TopicPartition, OffsetAndMetadata>> committed = new TreeMap<>();
    for (var group : admin.listGroups().all().get()) {
      committed.put(group.groupId(), admin.listConsumerGroupOffsets(group.groupId()).partitionsToOffsetAndMetadata().get());
    }
    Set<String> topics = admin.listTopics().names().get();
    Map<TopicPartition, OffsetSpec> wanted = new HashMap<>();
    committed.values().forEach(offsets -> offsets.forEach((partition, offset) -> {
      if (offset != null && topics.contains(partition.topic())) {
        wanted.put(partition, OffsetSpec.latest());
      }
    }));
    var ends = admin.listOffsets(wanted).all().get();
    Map<ObjectName, Long> found = new HashMap<>();
    for (var group : committed.entrySet()) {
      Map<String, Long> lags = new TreeMap<>();
      group.getValue().forEach((partition, offset) -> {
        if (offset != null && ends.containsKey(partition)) {
          lags.merge(partition.topic(), Math.max(0, ends.get(partition).offset() - offset.offset()), Long::sum);
        }
      });
      for (var lag : lags.entrySet()) {
        if (found.size() < MOST_FIGURES) {
          found.put(name(group.getKey(), lag.getKey()), lag.getValue());
        }
      }
    }
    return found;
  }

  private static ObjectName name(String group, String topic) throws JMException {
    return new ObjectName("bookstore.kafka:type=GroupLag,group=" + ObjectName.quote(group) + ",topic=" + ObjectName.quote(topic));
  }

  private void show(Map<ObjectName, Long> figures) throws JMException {
    MBeanServer server = ManagementFactory.getPlatformMBeanServer();
    Set<ObjectName> gone = new HashSet<>(shown.keySet());
    gone.removeAll(figures.keySet());
    for (ObjectName name : gone) {
      server.unregisterMBean(name);
      shown.remove(name);
    }
    for (var figure : figures.entrySet()) {
      Lag lag = shown.get(figure.getKey());
      if (lag == null) {
        lag = new Lag();
        lag.records = figure.getValue();
        server.registerMBean(lag, figure.getKey());
        shown.put(figure.getKey(), lag);
      }
      lag.records = figure.getValue();
    }
  }

  @Override
  public void close() {
    if (thread != null) {
      thread.interrupt();
      try {
        thread.join(Duration.ofSeconds(2));
      } catch (InterruptedException error) {
        Thread.currentThread().interrupt();
      }
    }
  }

  @Override
  public void init(List<KafkaMetric> metrics) {}

  @Override
  public void metricChange(KafkaMetric metric) {}

  @Override
  public void metricRemoval(KafkaMetric metric) {}
}
