package bookstore.identity;

import java.util.Set;
import org.keycloak.events.Event;
import org.keycloak.events.EventListenerProvider;
import org.keycloak.events.admin.AdminEvent;
import org.keycloak.events.admin.OperationType;
import org.keycloak.events.admin.ResourceType;
import org.keycloak.models.AbstractKeycloakTransaction;
import org.keycloak.models.ClientModel;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.RealmModel;
import org.keycloak.models.UserModel;
import org.keycloak.services.Urls;
import org.keycloak.urls.UrlType;

/**
 * Tells the services when access tokens that are still running are no longer right.
 *
 * <p>Keycloak itself sends a logout token for the first session only when an administrator or the account page ends all
 * of a user's sessions, and none when an account is deleted, disabled or loses a role, or when the whole realm is logged out.
 */
final class SessionEndings implements EventListenerProvider {
    private final KeycloakSession session;
    private final Deliveries deliveries;

    SessionEndings(KeycloakSession session, Deliveries deliveries) {
        this.session = session;
        this.deliveries = deliveries;
    }

    @Override
    public void onEvent(Event event) {
        switch (event.getType()) {
            case LOGOUT -> announce(event.getRealmId(), event.getUserId(), event.getSessionId());
            case DELETE_ACCOUNT, USER_DISABLED_BY_PERMANENT_LOCKOUT -> announce(event.getRealmId(), event.getUserId(), null);
            default -> { }
        }
    }

    @Override
    public void onEvent(AdminEvent event, boolean includeRepresentation) {
        RealmModel realm = session.realms().getRealm(event.getRealmId());
        if (event.getError() != null || realm == null) {
            return;
        }
        String[] path = event.getResourcePath().split("/");
        if (path[0].equals("users") && path.length > 1) {
            if (endsUser(realm, path, event.getOperationType())) {
                announce(realm.getId(), path[1], null);
            }
        } else if (path[0].equals("sessions") && path.length > 1) {
            announce(realm.getId(), null, path[1]);
        } else if (endsEverybody(realm, path, event)) {
            announce(realm.getId(), null, null);
        }
    }

    @Override
    public void close() { }

    /** Whether tokens of the user {@code path[1]} must end. */
    private boolean endsUser(RealmModel realm, String[] path, OperationType operation) {
        String part = path.length > 2 ? path[2] : "";
        return switch (part) {
            case "" -> operation == OperationType.DELETE || operation == OperationType.UPDATE && isOut(realm, path[1]);
            case "logout" -> true;
            case "reset-password" -> endSessions(realm, path[1]);
            case "role-mappings", "groups" -> operation == OperationType.DELETE;
            default -> false;
        };
    }

    private boolean isOut(RealmModel realm, String id) {
        UserModel user = session.users().getUserById(realm, id);
        return user == null || !user.isEnabled();
    }

    /** Keycloak leaves sessions alive whose password an administrator replaced: whoever knew the old one would stay. */
    private boolean endSessions(RealmModel realm, String id) {
        UserModel user = session.users().getUserById(realm, id);
        if (user != null) {
            session.sessions().removeUserSessions(realm, user);
        }
        return true;
    }

    /** Whether anybody may have lost something: who keeps all of it gets a new token without noticing. */
    private boolean endsEverybody(RealmModel realm, String[] path, AdminEvent event) {
        boolean removed = event.getOperationType() == OperationType.DELETE;
        ResourceType type = event.getResourceType();
        if (type == ResourceType.REALM) {
            return Set.of("logout-all", "push-revocation").contains(path[path.length - 1]) || !realm.isEnabled();
        }
        if (type == ResourceType.CLIENT) {
            // One that is deleted takes its sessions along, and services accept only clients that they know by name.
            ClientModel client = path.length > 1 ? realm.getClientById(path[1]) : null;
            return event.getOperationType() == OperationType.UPDATE && client != null && !client.isEnabled();
        }
        return removed && switch (type) {
            case REALM_ROLE, CLIENT_ROLE, REALM_ROLE_MAPPING, CLIENT_ROLE_MAPPING, GROUP -> true;
            default -> false;
        };
    }

    private void announce(String realm, String user, String userSession) {
        String issuer = Urls.realmIssuer(session.getContext().getUri(UrlType.FRONTEND).getBaseUri(), session.realms().getRealm(realm).getName());
        session.getTransactionManager().enlistAfterCompletion(new AbstractKeycloakTransaction() {
            @Override
            protected void commitImpl() {
                deliveries.add(realm, issuer, user, userSession);
            }

            @Override
            protected void rollbackImpl() { }
        });
    }
}
