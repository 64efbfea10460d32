// Publishes one event, as a structured CloudEvent, with KafkaJS; exits 1 unless Kafka has acknowledged it.
import { randomUUID } from "node:crypto";
import { Kafka, Partitioners } from "kafkajs";

const brokers = (process.env.KAFKA_BOOTSTRAP_SERVERS ?? "localhost:9092").split(",");
const kafka = new Kafka({ clientId: "web-shop", brokers });
const producer = kafka.producer({
  idempotent: true, // the client's retries write no second record; with it goes acks: -1
  maxInFlightRequests: 1,
  createPartitioner: Partitioners.DefaultPartitioner,
});

const event = {
  specversion: "1.0",
  id: randomUUID(),
  time: new Date().toISOString(),
  source: "/web-shop",
  type: "com.example.checkout.ended",
  datacontenttype: "application/json",
  data: {
    stage: "web_checkout",
    outcome: "ok",
    journey_id: "order-1001",
    segment: "new",
    duration_s: 34.2,
  },
};

await producer.connect();
const [sent] = await producer.send({
  topic: "touchpoint.web-checkout.v1",
  acks: -1,
  messages: [
    {
      key: event.id,
      value: JSON.stringify(event),
      headers: { "content-type": "application/cloudevents+json" },
    },
  ],
});
console.log(`published ${event.id} to ${sent.topicName}, partition ${sent.partition}`);
await producer.disconnect();
