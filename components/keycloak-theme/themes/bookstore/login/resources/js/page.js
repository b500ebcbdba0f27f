// What Keycloak's templates leave out: they name img/favicon.ico, where the shop's icon is a drawing, and tie no error to its field.
{
  const icon = document.querySelector('link[rel="icon"]');
  icon.type = 'image/svg+xml';
  icon.href = new URL('../img/icon.svg', document.currentScript.src).href;

  document.addEventListener('DOMContentLoaded', () => {
    const prefix = 'input-error-container-';
    for (const place of document.querySelectorAll(`[id^="${prefix}"]`)) {
      document.getElementById(place.id.slice(prefix.length))?.setAttribute('aria-describedby', place.id);
    }
    document.querySelector('[aria-invalid="true"]')?.focus();
  });
}
