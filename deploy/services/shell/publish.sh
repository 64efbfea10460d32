#!/bin/sh
# Publishes one event, as a binary CloudEvent, with kcat; exits 1 unless Kafka has acknowledged it.
set -eu
id=$(cat /proc/sys/kernel/random/uuid)
echo '{"stage": "web_checkout", "outcome": "ok", "journey_id": "order-1001", "segment": "new", "duration_s": 34.2}' |
    kcat -P -b "${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}" -t touchpoint.web-checkout.v1 -k "$id" \
        -X enable.idempotence=true -X delivery.timeout.ms=30000 \
        -H ce_specversion=1.0 -H "ce_id=$id" -H "ce_time=$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
        -H ce_source=/web-shop -H ce_type=com.example.checkout.ended -H content-type=application/json
echo "published $id to touchpoint.web-checkout.v1"
