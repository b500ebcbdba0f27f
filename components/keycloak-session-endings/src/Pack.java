package bookstore.identity;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.jar.JarOutputStream;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;

/** Packs a folder into a jar, because the runtime brings no tool for it. Arguments: jar, folder. */
final class Pack {
    public static void main(String... arguments) throws IOException {
        Path folder = Path.of(arguments[1]);
        List<Path> files;
        try (Stream<Path> all = Files.walk(folder)) {
            files = all.filter(Files::isRegularFile).sorted().toList();
        }
        try (OutputStream file = Files.newOutputStream(Path.of(arguments[0])); JarOutputStream jar = new JarOutputStream(file)) {
            for (Path path : files) {
                ZipEntry entry = new ZipEntry(folder.relativize(path).toString());
                entry.setTime(0);
                jar.putNextEntry(entry);
                Files.copy(path, jar);
                jar.closeEntry();
            }
        }
    }
}
