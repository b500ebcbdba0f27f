// Runs in the hidden frame: hands Keycloak's answer to the page that opened it (the message that oidc-client-ts waits for).
if (window.parent !== window) {
  window.parent.postMessage(
    { source: 'oidc-client', url: window.location.href, keepOpen: false },
    window.location.origin,
  );
}
