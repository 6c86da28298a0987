package quiet;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** Loads native libraries, each of which unpacks itself from its jar. */
@SpringBootApplication
@RestController
public class Application {
    public static void main(String[] arguments) { SpringApplication.run(Application.class, arguments); }

    @GetMapping("/")
    String ok() { return "ok"; }

    @GetMapping("/native")
    String natives() throws Exception {
        byte[] text = "quiet quiet quiet quiet".getBytes();
        int length = org.xerial.snappy.Snappy.compress(text).length;
        length += com.github.luben.zstd.Zstd.compress(text).length;
        length += net.jpountz.lz4.LZ4Factory.nativeInstance().fastCompressor().compress(text).length;
        length += com.sun.jna.Native.POINTER_SIZE;
        io.netty.channel.epoll.Epoll.ensureAvailability();
        try (var connection = java.sql.DriverManager.getConnection("jdbc:sqlite::memory:");
             var statement = connection.createStatement()) {
            statement.execute("create table t(i int)");
        }
        return "native " + length + "\n";
    }
}
