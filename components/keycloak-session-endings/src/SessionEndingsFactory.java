package bookstore.identity;

import org.keycloak.Config;
import org.keycloak.events.EventListenerProvider;
import org.keycloak.events.EventListenerProviderFactory;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.KeycloakSessionFactory;

/** The event listener {@code bookstore-session-endings}; a realm names it among its listeners. */
public final class SessionEndingsFactory implements EventListenerProviderFactory {
    private Deliveries deliveries;

    @Override
    public String getId() {
        return "bookstore-session-endings";
    }

    @Override
    public EventListenerProvider create(KeycloakSession session) {
        return new SessionEndings(session, deliveries);
    }

    @Override
    public void init(Config.Scope config) { }

    @Override
    public void postInit(KeycloakSessionFactory factory) {
        deliveries = new Deliveries(factory);
    }

    @Override
    public void close() {
        if (deliveries != null) {
            deliveries.close();
        }
    }
}
