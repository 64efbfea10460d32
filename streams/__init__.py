"""Everything that touches Kafka, Faust, HTTP or a terminal. Imports `monitor`, never the reverse."""
