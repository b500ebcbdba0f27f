import com.sun.net.httpserver.Headers;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadFactory;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * What others reach of the server: GET and HEAD of its health, by a name of its own. The server itself listens on the loopback
 * address. It answers to any Host name and cannot be told not to, so a web page whose name is made to lead here (DNS rebinding) could
 * read it; and it has more addresses than its health.
 */
final class Door {
  private static final Set<String> PATHS = Set.of("/q/health", "/q/health/live", "/q/health/ready", "/q/health/started");
  // How far a new snapshot is, which the guard itself says.
  private static final String SNAPSHOT = "/q/snapshot";
  private static final Pattern AUTHORITY = Pattern.compile("(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?");
  private static final Pattern LITERAL = Pattern.compile("[0-9]{1,3}(?:[.][0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*");
  private static final int CONNECT_MS = 2_000;
  private static final int READ_MS = 10_000;
  private static final long STACK_BYTES = 256 * 1024;

  private final Set<String> names;
  private final String server;

  private Door(Set<String> names, String server) {
    this.names = names;
    this.server = server;
  }

  /** Opens the port {@code door.port} for the names {@code door.names}, in front of {@code quarkus.http.port}. */
  static void open(Properties settings) throws IOException {
    // For how long a slow client holds its connection, and how many there are, the command line says (sun.net.httpserver.maxReqTime
    // and others): the JDK reads that once, and the agent for metrics makes a server before this one.
    Set<String> names = Arrays.stream(settings.getProperty("door.names").split(",")).collect(Collectors.toUnmodifiableSet());
    HttpServer door = HttpServer.create(new InetSocketAddress(Integer.parseInt(settings.getProperty("door.port"))), 64);
    // A slow client holds its thread while a lock of the JDK's server is taken. A virtual thread would hold one of the few that carry
    // all others with it; so each connection has a thread of its own, and maxConnections bounds them.
    ThreadFactory own = task -> new Thread(null, task, "door", STACK_BYTES);
    door.setExecutor(Executors.newThreadPerTaskExecutor(own));
    door.createContext("/", new Door(names, "http://127.0.0.1:" + settings.getProperty("quarkus.http.port"))::answer);
    door.start();
  }

  private void answer(HttpExchange exchange) throws IOException {
    try (exchange) {
      List<String> hosts = exchange.getRequestHeaders().getOrDefault("Host", List.of());
      if (hosts.size() != 1 || !own(hosts.get(0), exchange.getLocalAddress().getAddress())) {
        reply(exchange, 421, "this door answers to its own names only, such as localhost");
      } else if (!Set.of("GET", "HEAD").contains(exchange.getRequestMethod())) {
        exchange.getResponseHeaders().set("Allow", "GET, HEAD");
        reply(exchange, 405, "this door only lets read");
      } else if (exchange.getRequestURI().getRawPath().equals(SNAPSHOT)) {
        send(exchange, 200, null, (Progress.current() + "\n").getBytes(StandardCharsets.UTF_8));
      } else if (!PATHS.contains(exchange.getRequestURI().getRawPath())) {
        reply(exchange, 404, "this door shows /q/health and what is below it, and /q/snapshot");
      } else {
        handOn(exchange);
      }
    }
  }

  private boolean own(String authority, InetAddress reached) {
    Matcher found = AUTHORITY.matcher(authority);
    if (!found.matches()) {
      return false;
    }
    String host = found.group(1).replaceAll("[\\[\\]]", "").toLowerCase(Locale.ROOT);
    if (!LITERAL.matcher(host).matches()) {
      return names.contains(host);
    }
    try {
      InetAddress literal = InetAddress.getByName(host); // an address: nothing is looked up
      // Under the pod's address the kubelet and the mesh's proxy ask.
      return literal.isLoopbackAddress() || literal.equals(reached) || host.equals(System.getenv("POD_IP"));
    } catch (IOException none) {
      return false;
    }
  }

  private void handOn(HttpExchange exchange) throws IOException {
    HttpURLConnection connection = (HttpURLConnection) URI.create(server + exchange.getRequestURI().getRawPath()).toURL().openConnection();
    connection.setConnectTimeout(CONNECT_MS);
    connection.setReadTimeout(READ_MS);
    int status;
    byte[] body;
    try {
      status = connection.getResponseCode();
      try (InputStream in = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
        body = in == null ? new byte[0] : in.readAllBytes();
      }
    } catch (IOException away) {
      // The guard is still at work, and the server not started.
      reply(exchange, 503, "the server does not answer yet");
      return;
    }
    send(exchange, status, connection.getContentType(), body);
  }

  private static void reply(HttpExchange exchange, int status, String text) throws IOException {
    send(exchange, status, null, ("{\"error\":\"" + text + "\"}\n").getBytes(StandardCharsets.UTF_8));
  }

  private static void send(HttpExchange exchange, int status, String type, byte[] body) throws IOException {
    Headers headers = exchange.getResponseHeaders();
    headers.set("Content-Type", type == null ? "application/json" : type);
    headers.set("Cache-Control", "no-store");
    headers.set("X-Content-Type-Options", "nosniff");
    headers.set("X-Frame-Options", "DENY");
    headers.set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
    headers.set("Cross-Origin-Resource-Policy", "same-origin");
    headers.set("Referrer-Policy", "no-referrer");
    if (exchange.getRequestMethod().equals("HEAD")) {
      headers.set("Content-Length", String.valueOf(body.length));
      exchange.sendResponseHeaders(status, -1);
    } else {
      exchange.sendResponseHeaders(status, body.length == 0 ? -1 : body.length);
      if (body.length > 0) {
        exchange.getResponseBody().write(body);
      }
    }
  }
}
