import com.alibaba.dashscope.audio.omni.OmniRealtimeCallback;
import com.alibaba.dashscope.audio.omni.OmniRealtimeConfig;
import com.alibaba.dashscope.audio.omni.OmniRealtimeConversation;
import com.alibaba.dashscope.audio.omni.OmniRealtimeModality;
import com.alibaba.dashscope.audio.omni.OmniRealtimeParam;
import com.alibaba.dashscope.audio.omni.OmniRealtimeTranscriptionParam;
import com.google.gson.JsonObject;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Collections;
import javax.sound.sampled.AudioSystem;

/**
 * Transcribes a file with the official DashScope SDK for Java:
 * {@code mvn -q compile exec:java -Dexec.args="speech.wav"}.
 *
 * <p>Flags: --url URL, --api-key KEY, --language en (left out: detected), --manual (commit once
 * instead of using VAD). Prints each event as a line of JSON, and END-OK once the SDK has ended the
 * session.
 */
public class Client {
    private static final int CHUNK_BYTES = 1024;
    private static final int CHUNK_MS = 30;
    private static final PrintStream OUT =
            new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);

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
        try {
            transcribe(url, apiKey, language, file, manual);
            OUT.println("END-OK");
            System.exit(0); // the SDK's threads would linger
        } catch (Exception error) {
            System.err.println("error: " + error.getMessage());
            System.exit(1);
        }
    }

    private static void transcribe(
            String url, String apiKey, String language, String file, boolean manual)
            throws Exception {
        OmniRealtimeParam param = OmniRealtimeParam.builder()
                .model("qwen3-asr-flash-realtime").url(url).apikey(apiKey).build();
        OmniRealtimeConversation conversation =
                new OmniRealtimeConversation(param, new OmniRealtimeCallback() {
                    @Override
                    public void onOpen() {}

                    @Override
                    public void onEvent(JsonObject event) {
                        OUT.println(event);
                    }

                    @Override
                    public void onClose(int code, String reason) {
                        System.err.println("closed with " + code + " " + reason);
                    }
                });
        conversation.connect();

        OmniRealtimeTranscriptionParam transcription = new OmniRealtimeTranscriptionParam();
        if (language != null) {
            transcription.setLanguage(language);
        }
        transcription.setInputAudioFormat("pcm");
        transcription.setInputSampleRate(16000);
        conversation.updateSession(OmniRealtimeConfig.builder()
                .modalities(Collections.singletonList(OmniRealtimeModality.TEXT))
                .enableTurnDetection(!manual)
                .transcriptionConfig(transcription)
                .build());

        try (InputStream sound = open(file)) {
            byte[] chunk = new byte[CHUNK_BYTES];
            while (sound.read(chunk) != -1) { // the last one ends with what the one before held
                conversation.appendAudio(Base64.getEncoder().encodeToString(chunk));
                Thread.sleep(CHUNK_MS);
            }
        }
        if (manual) {
            conversation.commit();
        }
        conversation.endSession();
    }

    private static InputStream open(String file) throws Exception {
        return file.endsWith(".wav")
                ? AudioSystem.getAudioInputStream(new File(file))
                : new FileInputStream(file);
    }
}
