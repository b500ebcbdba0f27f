<#-- Keycloak's own has two links that are both named "Click here". -->
<#import "template.ftl" as layout>
<#import "buttons.ftl" as buttons>
<@layout.registrationLayout; section>
  <#if section = "header">
    ${msg("pageExpiredTitle")}
  <#elseif section = "form">
    <p class="instruction">${msg("pageExpiredText")}</p>
    <div class="${properties.kcFormActionGroupClass}">
      <@buttons.buttonLink id="loginContinueLink" href=url.loginAction label="pageExpiredContinue" class=["kcButtonClass", "kcButtonBlockClass"] />
      <@buttons.buttonLink id="loginRestartLink" href=url.loginRestartFlowUrl label="pageExpiredRestart" class=["kcButtonSecondaryClass", "kcButtonBlockClass"] />
    </div>
  </#if>
</@layout.registrationLayout>
