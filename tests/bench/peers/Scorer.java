// A plain Java consumer: Jackson's streaming parser, TensorFlow Java on the same SavedModel, one thread, both modes.
//
// usage: java Scorer BOOTSTRAP INPUT OUTPUT exactly-once|at-least-once CONTRACT

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.tensorflow.Result;
import org.tensorflow.SavedModelBundle;
import org.tensorflow.SessionFunction;
import org.tensorflow.ndarray.Shape;
import org.tensorflow.ndarray.buffer.DataBuffers;
import org.tensorflow.proto.ConfigProto;
import org.tensorflow.types.TFloat32;

public class Scorer {
    private final JsonFactory json = new JsonFactory();
    private final Map<String, Integer> places = new HashMap<>();
    private final double[] means;
    private final double[] scales;
    private final List<String> names = new ArrayList<>();
    private final List<Float> edges = new ArrayList<>();
    private final String tail;
    private final SessionFunction signature;

    Scorer(JsonNode contract) {
        JsonNode fields = contract.get("fields");
        means = new double[fields.size()];
        scales = new double[fields.size()];
        for (int at = 0; at < fields.size(); at++) {
            places.put(fields.get(at).asText(), at);
            means[at] = contract.get("mean").get(at).asDouble();
            scales[at] = contract.get("scale").get(at).asDouble();
        }
        contract.get("bands").properties().forEach(band -> {
            names.add(band.getKey());
            edges.add((float) band.getValue().asDouble());
        });
        tail = "\",\"model\":\"" + contract.get("name").asText() + "\",\"model_version\":\""
            + contract.get("version").asText() + "\"}";
        ConfigProto one = ConfigProto.newBuilder()
            .setIntraOpParallelismThreads(1).setInterOpParallelismThreads(1).build();
        SavedModelBundle bundle = SavedModelBundle.loader(contract.get("saved_model").asText())
            .withTags("serve").withConfigProto(one).load();
        signature = bundle.function("serving_default");
    }

    /** Reads one event into its row of features, and returns its id. */
    private String read(byte[] value, float[] features, int start) throws IOException {
        String id = "";
        try (JsonParser parser = json.createParser(value)) {
            parser.nextToken();
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                Integer place = places.get(parser.currentName());
                parser.nextToken();
                if (place != null) {
                    features[start + place] = (float) ((parser.getDoubleValue() - means[place]) / scales[place]);
                } else if (parser.currentName().equals("id")) {
                    id = parser.getText();
                } else {
                    parser.skipChildren();
                }
            }
        }
        return id;
    }

    /** Scores a batch, and returns the decisions as they are to be published. */
    List<ProducerRecord<byte[], byte[]>> decide(ConsumerRecords<byte[], byte[]> records, String target)
            throws IOException {
        int count = records.count();
        float[] features = new float[count * means.length];
        String[] ids = new String[count];
        int row = 0;
        for (ConsumerRecord<byte[], byte[]> record : records) {
            ids[row] = read(record.value(), features, row * means.length);
            row++;
        }
        float[] scores = new float[count];
        try (TFloat32 input = TFloat32.tensorOf(Shape.of(count, means.length), DataBuffers.of(features));
                Result result = signature.call(Map.of("features", input))) {
            ((TFloat32) result.get("score").orElseThrow()).asRawTensor().data().asFloats().read(scores);
        }
        List<ProducerRecord<byte[], byte[]>> decisions = new ArrayList<>(count);
        StringBuilder text = new StringBuilder(256);
        row = 0;
        for (ConsumerRecord<byte[], byte[]> record : records) {
            text.setLength(0);
            text.append("{\"decision_id\":\"").append(record.topic()).append('-').append(record.partition()).append('-')
                .append(record.offset()).append("\",\"event_id\":").append(ids[row])
                .append(",\"topic\":\"").append(record.topic()).append("\",\"partition\":").append(record.partition())
                .append(",\"offset\":").append(record.offset()).append(",\"score\":").append(scores[row])
                .append(",\"decision\":\"").append(band(scores[row])).append(tail);
            byte[] value = text.toString().getBytes(StandardCharsets.UTF_8);
            decisions.add(new ProducerRecord<>(target, record.key(), value));
            row++;
        }
        return decisions;
    }

    private String band(float score) {
        int at = edges.size() - 1;
        while (at > 0 && score < edges.get(at)) {
            at--;
        }
        return names.get(at);
    }

    public static void main(String[] arguments) throws Exception {
        String source = arguments[1], target = arguments[2];
        boolean transactional = arguments[3].equals("exactly-once");
        Scorer scorer = new Scorer(new ObjectMapper().readTree(new File(arguments[4])));
        Map<String, Object> reading = Map.of(
            "bootstrap.servers", arguments[0], "group.id", target, "enable.auto.commit", false,
            "auto.offset.reset", "earliest", "isolation.level", "read_committed", "max.poll.records", 4096);
        Map<String, Object> writing = new HashMap<>(Map.of(
            "bootstrap.servers", arguments[0], "acks", "all", "batch.size", 262_144, "linger.ms", 5,
            "retry.backoff.ms", 5));
        if (transactional) {
            writing.put("transactional.id", target + "-0");
        }
        KafkaConsumer<byte[], byte[]> consumer =
            new KafkaConsumer<>(reading, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        KafkaProducer<byte[], byte[]> producer =
            new KafkaProducer<>(writing, new ByteArraySerializer(), new ByteArraySerializer());
        if (transactional) {
            producer.initTransactions();
        }
        consumer.subscribe(List.of(source));
        while (true) {
            ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(100));
            if (!records.isEmpty()) {
                publish(scorer.decide(records, target), records.nextOffsets(), consumer, producer, transactional);
            }
        }
    }

    private static void publish(
            List<ProducerRecord<byte[], byte[]>> decisions, Map<TopicPartition, OffsetAndMetadata> offsets,
            KafkaConsumer<byte[], byte[]> consumer, KafkaProducer<byte[], byte[]> producer, boolean transactional) {
        if (transactional) {
            producer.beginTransaction();
            decisions.forEach(producer::send);
            producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
            producer.commitTransaction();
        } else {
            decisions.forEach(decision -> producer.send(decision, (metadata, error) -> {
                if (error != null) {
                    error.printStackTrace();
                    Runtime.getRuntime().halt(1);  // nothing is committed that was not published
                }
            }));
            producer.flush();
            consumer.commitSync(offsets);
        }
    }
}
