"""scorer: scores Kafka events with TensorFlow models."""
