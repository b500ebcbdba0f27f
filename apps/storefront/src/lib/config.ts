/** What differs between places; served by nginx from a ConfigMap (S-03), so nothing of it is in the build. */
export interface Config {
  /** Origin of the APIs. */
  api: string;
  /** Issuer of the realm. */
  issuer: string;
  clientId: string;
  /** Addresses under which pictures of covers exist; any other cover is drawn. */
  coverPrefixes: string[];
}

const isUrl = (value: unknown): value is string =>
  typeof value === 'string' && URL.canParse(value) && /^https?:/.test(value);

/** Check a parsed config.json; an Error lists every bad member. */
export function parseConfig(raw: unknown): Config {
  const found = (typeof raw === 'object' && raw !== null ? raw : {}) as Record<string, unknown>;
  const { api, issuer, client_id: clientId, cover_prefixes: prefixes = [] } = found;
  const faults: string[] = [];
  if (!isUrl(api)) faults.push('api must be an http(s) address');
  if (!isUrl(issuer)) faults.push('issuer must be an http(s) address');
  if (typeof clientId !== 'string' || clientId === '') faults.push('client_id must be a text');
  if (!Array.isArray(prefixes) || !prefixes.every((one) => typeof one === 'string'))
    faults.push('cover_prefixes must be a list of texts');
  if (faults.length > 0) throw new Error(`config.json: ${faults.join('; ')}`);
  return { api, issuer, clientId, coverPrefixes: prefixes } as Config;
}

let current: Config | undefined;

/** Fetch and keep the configuration; called once, before anything is drawn. */
export async function loadConfig(): Promise<Config> {
  const answer = await fetch('/config.json', { cache: 'no-store' });
  if (!answer.ok) throw new Error(`config.json answered ${String(answer.status)}`);
  return setConfig(parseConfig(await answer.json()));
}

export function setConfig(config: Config): Config {
  current = config;
  return config;
}

export function config(): Config {
  if (current === undefined) throw new Error('the configuration was not loaded');
  return current;
}
