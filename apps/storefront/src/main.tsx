import { createRoot } from 'react-dom/client';
import { App } from './app/app';
import { loadConfig } from './lib/config';
import { bearTranslators } from './lib/translated';
import './styles/base.css';
import './styles/layout.css';
import './styles/parts.css';
import './styles/pages.css';

bearTranslators();

// A page that the browser kept and shows again (Back, after signing out) would show what its visitor may no longer see.
window.addEventListener('pageshow', (event) => {
  if (event.persisted) window.location.reload();
});

const root = createRoot(document.getElementById('root') as HTMLElement);
loadConfig().then(
  () => {
    root.render(<App />);
  },
  () => {
    root.render(
      <main className="fatal">
        <h1>The shop could not be opened</h1>
        <p>Please check your connection, then reload the page.</p>
        <button
          type="button"
          className="button"
          onClick={() => {
            window.location.reload();
          }}
        >
          Reload
        </button>
      </main>,
    );
  },
);
