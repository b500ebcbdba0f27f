<#-- Keycloak's own puts its button before everything else in the order of the Tab key. -->
<#import "template.ftl" as layout>
<#import "buttons.ftl" as buttons>
<@layout.registrationLayout; section>
  <#if section = "header">
    ${msg("logoutConfirmTitle")}
  <#elseif section = "form">
    <p class="instruction">${msg("logoutConfirmHeader")}</p>
    <form action="${url.logoutConfirmAction}" method="post">
      <input type="hidden" name="session_code" value="${logoutConfirm.code}">
      <div class="${properties.kcFormActionGroupClass}">
        <@buttons.button id="kc-logout" name="confirmLogout" label="doLogout" class=["kcButtonPrimaryClass", "kcButtonBlockClass"] />
        <#if !logoutConfirm.skipLink && (client.baseUrl)?has_content>
          <@buttons.buttonLink id="kc-stay" href=client.baseUrl label="backToApplication" class=["kcButtonSecondaryClass", "kcButtonBlockClass"] />
        </#if>
      </div>
    </form>
  </#if>
</@layout.registrationLayout>
