import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Instant;
import java.util.Map;
import java.util.UUID;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Publishes one event, as a binary CloudEvent, with kafka-clients; ends with an exception if it cannot. */
public final class Publish {
    public static void main(String[] arguments) throws Exception {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", System.getenv().getOrDefault("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
                "enable.idempotence", true, // the client's retries write no second record
                "acks", "all",
                "delivery.timeout.ms", 30_000, // afterwards `get` throws
                "request.timeout.ms", 10_000,
                "max.block.ms", 30_000,
                "linger.ms", 20,
                "compression.type", "lz4");
        Map<String, Object> data = Map.of(
                "stage", "web_checkout",
                "outcome", "ok",
                "journey_id", "order-1001",
                "segment", "new",
                "duration_s", 34.2);
        String id = UUID.randomUUID().toString();
        byte[] value = new ObjectMapper().writeValueAsBytes(data);
        var event = new ProducerRecord<>("touchpoint.web-checkout.v1", id, value);
        Map.of(
                "ce_specversion", "1.0",
                "ce_id", id,
                "ce_time", Instant.now().toString(),
                "ce_source", "/web-shop",
                "ce_type", "com.example.checkout.ended",
                "content-type", "application/json")
                .forEach((name, text) -> event.headers().add(name, text.getBytes()));
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new ByteArraySerializer())) {
            var sent = producer.send(event).get();
            System.out.printf("published %s to %s, partition %d%n", id, sent.topic(), sent.partition());
        }
    }
}
