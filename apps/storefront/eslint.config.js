import js from '@eslint/js';
import jsxA11y from 'eslint-plugin-jsx-a11y';
import hooks from 'eslint-plugin-react-hooks';
import tseslint from 'typescript-eslint';

// Imports flow one way: lib, then components, then features, then app; features know nothing of each other.
const FEATURES = ['account', 'admin', 'cart', 'catalog', 'checkout', 'orders'];
const forbid = (files, group, message) => ({
  files,
  rules: { 'no-restricted-imports': ['error', { patterns: [{ group, message }] }] },
});

export default tseslint.config(
  { ignores: ['dist', 'node_modules', 'src/lib/api/generated', 'scripts', 'eslint.config.js'] },
  js.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  jsxA11y.flatConfigs.strict,
  hooks.configs.flat.recommended,
  {
    languageOptions: { parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname } },
    rules: {
      // The platform may not render text as markup, in any way.
      'no-restricted-syntax': [
        'error',
        { selector: "JSXAttribute[name.name='dangerouslySetInnerHTML']", message: 'text stays text' },
        {
          selector: 'MemberExpression[property.name=/^(innerHTML|outerHTML|insertAdjacentHTML)$/]',
          message: 'text stays text',
        },
        { selector: "JSXAttribute[name.name='style']", message: 'write a class' },
      ],
      'no-console': 'error',
      // The router's redirects and not-founds are thrown, and are no errors.
      '@typescript-eslint/only-throw-error': 'off',
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      'react-hooks/set-state-in-effect': 'off',
      // A table that scrolls must be reachable by keyboard, so its box takes the focus.
      'jsx-a11y/no-noninteractive-tabindex': ['error', { tags: ['main'], roles: ['region'] }],
      // A table whose rows a style sheet lays out as cards says again what it is.
      'jsx-a11y/no-redundant-roles': [
        'error',
        { nav: ['navigation'], thead: ['rowgroup'], tbody: ['rowgroup'], tfoot: ['rowgroup'] },
      ],
      'jsx-a11y/no-interactive-element-to-noninteractive-role': [
        'error',
        { tr: ['none', 'presentation'], td: ['cell'] },
      ],
    },
  },
  forbid(['src/lib/**'], ['**/components/**', '**/features/**', '**/app/**'], 'lib depends on nothing above it'),
  forbid(['src/components/**'], ['**/features/**', '**/app/**'], 'components depend on lib only'),
  ...FEATURES.map((name) =>
    forbid(
      [`src/features/${name}/**`],
      [
        '**/app/**',
        ...FEATURES.filter((one) => one !== name)
          .map((one) => `**/${one}/**`)
          .filter((one) => one !== '**/cart/**'),
        ...(name === 'cart' ? [] : ['**/features/cart/**', '../cart/*']),
      ],
      'features depend on lib and components only',
    ),
  ),
  {
    files: ['**/*.test.ts', '**/*.test.tsx', 'src/testing/**'],
    rules: { '@typescript-eslint/no-non-null-assertion': 'off', '@typescript-eslint/unbound-method': 'off' },
  },
);
