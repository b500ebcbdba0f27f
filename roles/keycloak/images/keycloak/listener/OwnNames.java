package bookstore.identity;

import jakarta.ws.rs.container.ContainerRequestContext;
import jakarta.ws.rs.container.ContainerRequestFilter;
import jakarta.ws.rs.container.PreMatching;
import jakarta.ws.rs.core.MediaType;
import jakarta.ws.rs.core.MultivaluedMap;
import jakarta.ws.rs.core.Response;
import jakarta.ws.rs.ext.Provider;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Answers to this server's own names only, whatever is asked for: else a web page whose name is made to lead to the console's port (DNS
 * rebinding) could read what it serves, and guess passwords. Names come from the environment variable KEYCLOAK_DOOR_NAMES, separated by
 * commas; loopback addresses and the pod's own (POD_IP) count as well.
 */
@Provider
@PreMatching
public class OwnNames implements ContainerRequestFilter {
  private static final Pattern AUTHORITY = Pattern.compile("(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?");
  private static final Pattern LOOPBACK = Pattern.compile("127[.][0-9]{1,3}[.][0-9]{1,3}[.][0-9]{1,3}|\\[::1\\]");
  private static final Set<String> NAMES = Set.of(System.getenv().getOrDefault("KEYCLOAK_DOOR_NAMES", "localhost").split(","));

  @Override
  public void filter(ContainerRequestContext request) {
    MultivaluedMap<String, String> headers = request.getHeaders();
    List<String> hosts = headers.getOrDefault("Host", List.of());
    if (hosts.size() != 1 || !own(hosts.get(0))) {
      request.abortWith(Response.status(421).type(MediaType.APPLICATION_JSON)
          .header("X-Content-Type-Options", "nosniff").header("X-Frame-Options", "DENY")
          .entity("{\"error\":\"this door answers to its own names only, such as localhost\"}\n").build());
    }
  }

  static boolean own(String authority) {
    Matcher found = AUTHORITY.matcher(authority);
    if (!found.matches()) {
      return false;
    }
    String host = found.group(1).toLowerCase(Locale.ROOT);
    return NAMES.contains(host) || LOOPBACK.matcher(host).matches() || host.equals(System.getenv("POD_IP"));
  }
}
