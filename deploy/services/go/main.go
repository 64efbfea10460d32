// Publishes one event, as plain JSON, with franz-go; exits 1 unless Kafka has acknowledged it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
)

type event struct {
	ID        string    `json:"id"`
	Time      time.Time `json:"time"`
	Stage     string    `json:"stage"`
	Outcome   string    `json:"outcome"`
	JourneyID string    `json:"journey_id,omitempty"`
	Segment   string    `json:"segment,omitempty"`
	DurationS float64   `json:"duration_s,omitempty"`
}

func main() {
	brokers := os.Getenv("KAFKA_BOOTSTRAP_SERVERS")
	if brokers == "" {
		brokers = "localhost:9092"
	}
	// franz-go is idempotent and waits for all replicas unless told otherwise.
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(brokers, ",")...),
		kgo.RecordDeliveryTimeout(30*time.Second), // afterwards FirstErr has an error
		kgo.ProducerLinger(20*time.Millisecond),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	one := event{
		ID: uuid.NewString(), Time: time.Now(), Stage: "web_checkout", Outcome: "ok",
		JourneyID: "order-1001", Segment: "new", DurationS: 34.2,
	}
	value, err := json.Marshal(one)
	if err != nil {
		log.Fatal(err)
	}
	record := &kgo.Record{Topic: "touchpoint.web-checkout.v1", Key: []byte(one.ID), Value: value}
	if err := client.ProduceSync(context.Background(), record).FirstErr(); err != nil {
		log.Fatalf("not published: %v", err)
	}
	fmt.Printf("published %s to %s, partition %d\n", one.ID, record.Topic, record.Partition)
}
