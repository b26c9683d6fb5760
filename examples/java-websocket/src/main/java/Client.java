import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Base64;
import java.util.concurrent.CountDownLatch;
import javax.sound.sampled.AudioSystem;
import org.java_websocket.client.WebSocketClient;
import org.java_websocket.handshake.ServerHandshake;
import org.json.JSONObject;

/**
 * Transcribes a file over a plain WebSocket:
 * {@code mvn -q compile exec:java -Dexec.args="speech.wav"}.
 *
 * <p>Flags: --url URL, --api-key KEY, --language en (left out: detected), --manual (commit once
 * instead of using VAD). Prints each event as a line of JSON, and END-OK once the session has ended.
 */
public class Client extends WebSocketClient {
    private static final int CHUNK_BYTES = 3200; // a tenth of a second of 16 kHz mono 16-bit sound
    private static final PrintStream OUT =
            new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);

    private final String language;
    private final boolean manual;
    private final CountDownLatch closed = new CountDownLatch(1);
    private volatile boolean finished;

    private Client(URI uri, String language, boolean manual) {
        super(uri);
        this.language = language;
        this.manual = manual;
    }

    public static void main(String[] args) throws Exception {
        String url = "ws://127.0.0.1:8080/api-ws/v1/realtime";
        String apiKey = System.getenv().getOrDefault("DASHSCOPE_API_KEY", "any");
        String language = null;
        String file = null;
        boolean manual = false;
        for (int i = 0; i < args.length; i++) {
            switch (args[i]) {
                case "--url": url = args[++i]; break;
                case "--api-key": apiKey = args[++i]; break;
                case "--language": language = args[++i]; break;
                case "--manual": manual = true; break;
                default: file = args[i];
            }
        }
        if (file == null) {
            System.err.println("which file? See the flags at the top of Client.java");
            System.exit(2);
        }
        Client client = new Client(
                new URI(url + "?model=qwen3-asr-flash-realtime"), language, manual);
        client.addHeader("Authorization", "Bearer " + apiKey);
        client.addHeader("OpenAI-Beta", "realtime=v1");
        if (client.connectBlocking()) {
            client.sendAudio(file);
        }
        client.closed.await();
        System.exit(client.finished ? 0 : 1);
    }

    @Override
    public void onOpen(ServerHandshake handshake) {
        JSONObject transcription = new JSONObject();
        if (language != null) {
            transcription.put("language", language);
        }
        JSONObject vad = new JSONObject()
                .put("type", "server_vad")
                .put("threshold", 0.0)
                .put("silence_duration_ms", 400);
        send(event("event_123", "session.update").put("session", new JSONObject()
                .put("modalities", new String[] {"text"})
                .put("input_audio_format", "pcm")
                .put("sample_rate", 16000)
                .put("input_audio_transcription", transcription)
                .put("turn_detection", manual ? JSONObject.NULL : vad)).toString());
    }

    @Override
    public void onMessage(String message) {
        JSONObject event = new JSONObject(message);
        OUT.println(event);
        if ("session.finished".equals(event.optString("type"))) {
            finished = true;
            close(1000, "ASR finished");
        }
    }

    @Override
    public void onClose(int code, String reason, boolean remote) {
        if (finished && code == 1000) {
            OUT.println("END-OK");
        } else {
            System.err.println("closed with " + code + " " + reason);
        }
        closed.countDown();
    }

    @Override
    public void onError(Exception error) {
        System.err.println("error: " + error.getMessage());
    }

    private void sendAudio(String file) throws Exception {
        Thread.sleep(3000); // long enough for the session to be configured
        byte[] pcm = readPcm(file);
        for (int offset = 0; offset < pcm.length && isOpen(); offset += CHUNK_BYTES) {
            byte[] chunk =
                    Arrays.copyOfRange(pcm, offset, Math.min(offset + CHUNK_BYTES, pcm.length));
            send(event("event_" + offset, "input_audio_buffer.append")
                    .put("audio", Base64.getEncoder().encodeToString(chunk)).toString());
            Thread.sleep(100);
        }
        if (isOpen()) {
            if (manual) {
                send(event("event_789", "input_audio_buffer.commit").toString());
            }
            send(event("event_987", "session.finish").toString());
        }
    }

    private static byte[] readPcm(String file) throws Exception {
        if (!file.endsWith(".wav")) {
            return Files.readAllBytes(Path.of(file));
        }
        try (InputStream sound = AudioSystem.getAudioInputStream(Path.of(file).toFile())) {
            return sound.readAllBytes();
        }
    }

    private static JSONObject event(String id, String type) {
        return new JSONObject().put("event_id", id).put("type", type);
    }
}
