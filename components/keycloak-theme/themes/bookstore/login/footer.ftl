<#-- The place below every page that Keycloak leaves to themes. -->
<#macro content>
  <p class="motto">${msg("motto")}</p>
  <#if (client.baseUrl)?has_content>
    <p class="way-back"><a href="${client.baseUrl}">${msg("backToApplication")}</a></p>
  </#if>
</#macro>
