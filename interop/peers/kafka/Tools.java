import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/**
 * Apache Kafka's command-line tools, one after another in one process: a tool that has run once takes a hundredth of the
 * processor time of a new process.
 *
 * <p>A request on standard input: the name of a class, its arguments, its standard input. The answer on standard output:
 * the status, what it wrote to standard output and to standard error. Texts have their length in bytes before them, a list its
 * number of texts; integers have four bytes. It ends with its input. Tools that call {@code System.exit} end it.
 */
class Tools {
    /** What a tool's exit ends it with. */
    private static final class Exited extends Error {
        Exited() {
            super(null, null, false, false);
        }
    }

    /** One run of a tool: what it has written until it ended, and how it ended. */
    private static final class Run {
        final ByteArrayOutputStream out = new ByteArrayOutputStream();
        final ByteArrayOutputStream err = new ByteArrayOutputStream();
        final List<Runnable> hooks = new ArrayList<>();
        Integer status;

        /** The first exit counts, and what is written after it is not the tool's any more. */
        synchronized void exit(int status) {
            if (this.status == null) {
                this.status = status;
                System.out.flush();
                System.err.flush();
                System.setOut(new PrintStream(PrintStream.nullOutputStream()));
                System.setErr(new PrintStream(PrintStream.nullOutputStream()));
            }
        }
    }

    private static Run current;

    public static void main(String[] arguments) throws IOException {
        var requests = new DataInputStream(new FileInputStream(FileDescriptor.in));
        var answers = new DataOutputStream(new FileOutputStream(FileDescriptor.out));
        Exit.setExitProcedure((status, message) -> {
            current.exit(status);
            throw new Exited();
        });
        Exit.setHaltProcedure((status, message) -> {
            current.exit(status);
            throw new Exited();
        });
        Exit.setShutdownHookAdder((name, hook) -> current.hooks.add(hook));
        while (true) {
            String tool;
            try {
                tool = text(requests);
            } catch (EOFException end) {
                return;
            }
            var toolArguments = new String[requests.readInt()];
            for (int i = 0; i < toolArguments.length; i++) toolArguments[i] = text(requests);
            var input = bytes(requests);
            var run = run(tool, toolArguments, input);
            answers.writeInt(run.status);
            for (var written : List.of(run.out, run.err)) {
                answers.writeInt(written.size());
                written.writeTo(answers);
            }
            answers.flush();
        }
    }

    private static Run run(String tool, String[] arguments, byte[] input) {
        var run = new Run();
        current = run;
        System.setIn(new ByteArrayInputStream(input));
        System.setOut(new PrintStream(run.out, false, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(run.err, false, StandardCharsets.UTF_8));
        try (var loader = new ToolLoader()) {
            loader.loadClass(tool).getMethod("main", String[].class).invoke(null, (Object) arguments);
            run.exit(0);
        } catch (InvocationTargetException thrown) {
            if (!(thrown.getCause() instanceof Exited)) {
                System.err.print("Exception in thread \"main\" ");
                thrown.getCause().printStackTrace();
                run.exit(1);
            }
        } catch (ReflectiveOperationException | IOException error) {
            System.err.println(error);
            run.exit(1);
        }
        for (var hook : run.hooks) {
            try {
                hook.run();
            } catch (Exited again) {
                // It has ended already.
            }
        }
        return run;
    }

    /** Loads the classes of tools anew, for some keep what they have counted in static fields; all else is loaded once. */
    private static final class ToolLoader extends URLClassLoader {
        ToolLoader() throws IOException {
            super(jars());
        }

        private static URL[] jars() throws IOException {
            var jars = new ArrayList<URL>();
            for (var entry : System.getProperty("java.class.path").split(java.io.File.pathSeparator)) {
                var name = Path.of(entry).getFileName().toString();
                if (name.startsWith("kafka-tools-") && !name.startsWith("kafka-tools-api") || name.startsWith("kafka_")) {
                    jars.add(Path.of(entry).toUri().toURL());
                }
            }
            return jars.toArray(URL[]::new);
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            boolean ofTools = name.startsWith("org.apache.kafka.tools.") && !name.startsWith("org.apache.kafka.tools.api.")
                || name.startsWith("kafka.");
            if (ofTools) {
                synchronized (getClassLoadingLock(name)) {
                    var loaded = findLoadedClass(name);
                    return loaded != null ? loaded : findClass(name);
                }
            }
            return super.loadClass(name, resolve);
        }
    }

    private static byte[] bytes(DataInputStream from) throws IOException {
        var bytes = new byte[from.readInt()];
        from.readFully(bytes);
        return bytes;
    }

    private static String text(DataInputStream from) throws IOException {
        return new String(bytes(from), StandardCharsets.UTF_8);
    }
}
