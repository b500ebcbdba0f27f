package bookstore.identity;

import java.net.ProxySelector;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.jboss.logging.Logger;
import org.keycloak.common.util.SecretGenerator;
import org.keycloak.common.util.Time;
import org.keycloak.models.ClientModel;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.KeycloakSessionFactory;
import org.keycloak.models.RealmModel;
import org.keycloak.models.utils.KeycloakModelUtils;
import org.keycloak.representations.LogoutToken;
import org.keycloak.util.JsonSerialization;
import org.keycloak.util.TokenUtil;

/**
 * Sends logout tokens (OpenID Connect Back-Channel Logout 1.0) to every client that has an address for them, beside the
 * requests, and again until they arrive or the access tokens they are about have ended by themselves.
 */
final class Deliveries {
    /** The services' own: beside the standard event, in a token that names nobody, it means everybody. */
    private static final String EVERYBODY = "urn:bookstore:event:every-session-ended";
    private static final String ADDRESS = "backchannel.logout.url";
    private static final int LONGEST_PAUSE_SECONDS = 5;
    private static final int TOKEN_SECONDS = 120;
    private static final int MARGIN_SECONDS = 60;
    private static final int MOST_WAITING = 10_000;
    private static final Logger LOG = Logger.getLogger(Deliveries.class);

    private final KeycloakSessionFactory factory;
    private final ScheduledThreadPoolExecutor threads;
    private final HttpClient http;

    Deliveries(KeycloakSessionFactory factory) {
        this.factory = factory;
        threads = new ScheduledThreadPoolExecutor(2, Thread.ofPlatform().name("session-endings-", 0).daemon().factory());
        http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(2))
            .proxy(ProxySelector.of(null)).build();
    }

    /** What ended, and when: {@code userSession}; without it all of {@code user}; without both, everybody's. */
    private record Ending(String realm, String issuer, String user, String userSession, long moment) { }

    void add(String realm, String issuer, String user, String userSession) {
        if (threads.getQueue().size() >= MOST_WAITING) {
            LOG.errorf("session endings: %d wait already, one was dropped; access tokens end by themselves", MOST_WAITING);
            return;
        }
        Ending ending = new Ending(realm, issuer, user, userSession, Time.currentTime());
        threads.execute(() -> deliver(ending, 1));
    }

    /** Gives what is under way some seconds. */
    void close() {
        threads.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
        threads.shutdown();
        try {
            threads.awaitTermination(5, TimeUnit.SECONDS);
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
        threads.shutdownNow();
    }

    private void deliver(Ending ending, int pause) {
        boolean done;
        long[] last = {ending.moment + MARGIN_SECONDS};
        try {
            Map<URI, String> tokens = new HashMap<>();
            KeycloakModelUtils.runJobInTransaction(factory, session -> {
                RealmModel realm = session.realms().getRealm(ending.realm);
                if (realm != null) {
                    last[0] += realm.getAccessTokenLifespan();
                    sign(session, realm, ending, tokens);
                }
            });
            done = true;
            for (Map.Entry<URI, String> token : tokens.entrySet()) {
                done &= send(token.getKey(), token.getValue());
            }
        } catch (RuntimeException failure) {
            LOG.warnf("session endings: %s; tried again in %d s", failure, pause);
            done = false;
        }
        if (done || threads.isShutdown()) {
            return;
        }
        if (Time.currentTime() > last[0]) {
            LOG.error("session endings: one could not be told in time; the access tokens have ended by themselves");
            return;
        }
        threads.schedule(() -> deliver(ending, Math.min(2 * pause, LONGEST_PAUSE_SECONDS)), pause, TimeUnit.SECONDS);
    }

    private static void sign(KeycloakSession session, RealmModel realm, Ending ending, Map<URI, String> tokens) {
        session.getContext().setRealm(realm);
        realm.getClientsStream().filter(client -> client.isEnabled() && address(client) != null).toList().forEach(client -> {
            session.getContext().setClient(client);
            LogoutToken token = new LogoutToken();
            token.id(SecretGenerator.getInstance().generateSecureID());
            token.issuer(ending.issuer);
            token.iat(ending.moment);
            token.exp((long) Time.currentTime() + TOKEN_SECONDS);
            token.addAudience(client.getClientId());
            token.putEvents(TokenUtil.TOKEN_BACKCHANNEL_LOGOUT_EVENT, JsonSerialization.createObjectNode());
            if (ending.user == null && ending.userSession == null) {
                token.putEvents(EVERYBODY, JsonSerialization.createObjectNode());
            }
            token.setSubject(ending.user);
            token.setSid(ending.userSession);
            tokens.put(URI.create(address(client)), session.tokens().encode(token));
        });
    }

    private static String address(ClientModel client) {
        String url = client.getAttribute(ADDRESS);
        return url == null || url.isEmpty() ? null : url;
    }

    private boolean send(URI address, String token) {
        HttpRequest request = HttpRequest.newBuilder(address).timeout(Duration.ofSeconds(5))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .POST(HttpRequest.BodyPublishers.ofString("logout_token=" + URLEncoder.encode(token, StandardCharsets.UTF_8))).build();
        try {
            int status = http.send(request, HttpResponse.BodyHandlers.discarding()).statusCode();
            if (status == 400) {
                LOG.errorf("session endings: %s does not accept the logout token", address);
                return true;
            }
            if (status >= 300) {
                LOG.warnf("session endings: %s answers %d", address, status);
            }
            return status < 300;
        } catch (java.io.IOException unreachable) {
            LOG.warnf("session endings: %s: %s", address, unreachable);
            return false;
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
            return false;
        }
    }
}
