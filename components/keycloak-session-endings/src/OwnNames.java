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
 * rebinding) could read what it serves, and guess passwords.
 *
 * <p>The server believes X-Forwarded-Host, which such a page may send as well, and has put it into Host before this filter looks. So who
 * sends one gets what the gateway shows at the identity site, and nothing else; the console is for who sends none.
 *
 * <p>Environment: KEYCLOAK_DOOR_NAMES, names separated by commas; KEYCLOAK_SITE, host and port of the identity site; KEYCLOAK_SITE_PATHS,
 * prefixes of what it shows. Loopback addresses and the pod's own (POD_IP) are own names, too.
 */
@Provider
@PreMatching
public class OwnNames implements ContainerRequestFilter {
  private static final Pattern AUTHORITY = Pattern.compile("(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?");
  private static final Pattern LOOPBACK = Pattern.compile("127[.][0-9]{1,3}[.][0-9]{1,3}[.][0-9]{1,3}|\\[::1\\]");
  // As the gateway hands paths on: no escapes, no dots that lead upwards, no empty parts.
  private static final Pattern PLAIN = Pattern.compile("(?:/(?![.]{1,2}(?:/|$))[A-Za-z0-9._~@:+=,-]+)*/?");
  private static final Set<String> NAMES = Set.of(System.getenv().getOrDefault("KEYCLOAK_DOOR_NAMES", "localhost").split(","));
  private static final String SITE = System.getenv().getOrDefault("KEYCLOAK_SITE", "");
  private static final String[] SHOWN = System.getenv().getOrDefault("KEYCLOAK_SITE_PATHS", "").split(",");

  @Override
  public void filter(ContainerRequestContext request) {
    MultivaluedMap<String, String> headers = request.getHeaders();
    List<String> forwarded = headers.getOrDefault("X-Forwarded-Host", List.of());
    List<String> hosts = headers.getOrDefault("Host", List.of());
    boolean mine = forwarded.isEmpty()
        ? hosts.size() == 1 && own(hosts.get(0))
        : forwarded.size() == 1 && forwarded.get(0).equals(SITE) && shown(request.getUriInfo().getRequestUri().getRawPath());
    if (!mine) {
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

  static boolean shown(String path) {
    for (String prefix : SHOWN) {
      if (!prefix.isEmpty() && (path.equals(prefix) || path.startsWith(prefix + "/"))) {
        return PLAIN.matcher(path).matches();
      }
    }
    return false;
  }
}
