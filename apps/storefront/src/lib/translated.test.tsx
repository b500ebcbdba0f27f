import { act, cleanup, render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { useState, type ReactElement } from 'react';
import { afterEach, describe, expect, test } from 'vitest';
import { bearTranslators } from './translated';

bearTranslators();
// The type of just any element: that of this one is deprecated.
const FONT: string = 'font';

/** Texts beside texts and elements that come, change, go and move: what a page does to its text nodes. */
function Order(): ReactElement {
  const [copies, setCopies] = useState(1);
  const [lines, setLines] = useState(['Dune', 'Emma', 'Momo']);
  const [failed, setFailed] = useState(false);
  return (
    <form aria-label="Order">
      <label>
        Name
        <input name="name" />
      </label>
      <p data-testid="copies">
        {copies} {copies === 1 ? 'copy' : 'copies'} of {lines.length > 0 ? <em>{lines[0]}</em> : null} and{' '}
        {failed ? 'nothing ' : null}more
      </p>
      <p data-testid="total">
        {failed ? <s>before </s> : null}Total {`$${String(copies * 10)}.00`}
      </p>
      {failed ? 'Something failed. ' : null}
      <ul>
        {lines.map((line) => (
          <li key={line}>
            {copies} × {line}
          </li>
        ))}
      </ul>
      {failed ? <strong role="alert">The price has changed.</strong> : null}
      Thank you
      <button
        type="button"
        onClick={() => {
          setCopies((one) => one + 1);
        }}
      >
        More
      </button>
      <button
        type="button"
        onClick={() => {
          setFailed((one) => !one);
        }}
      >
        Fail
      </button>
      <button
        type="button"
        onClick={() => {
          setLines((all) => [...all].reverse());
        }}
      >
        Turn
      </button>
      <button
        type="button"
        onClick={() => {
          setLines((all) => all.slice(1));
        }}
      >
        Drop
      </button>
    </form>
  );
}

const texts = (): Text[] => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found: Text[] = [];
  while (walker.nextNode()) found.push(walker.currentNode as Text);
  return found.filter((text) => text.data.trim() !== '' && text.parentElement?.parentElement?.tagName !== 'FONT');
};
const fonts = (inner: Node): HTMLElement => {
  const outer = document.createElement(FONT);
  outer.append(document.createElement(FONT));
  outer.firstElementChild!.append(inner);
  return outer;
};
/** The ways in which translators put two font elements to a text. */
const WAYS: Record<string, (text: Text) => void> = {
  'around it': (text) => {
    const place = document.createComment('');
    text.before(place);
    place.replaceWith(fonts(text));
  },
  'in its place': (text) => {
    text.replaceWith(fonts(document.createTextNode(text.data)));
  },
  'before it, which then goes': (text) => {
    text.before(fonts(document.createTextNode(text.data)));
    text.remove();
  },
};

afterEach(cleanup);

describe.each(Object.entries(WAYS))('every text of the page has fonts %s', (_name, way) => {
  const translate = () => {
    for (const text of texts()) way(text);
  };

  test('nothing that happens afterwards breaks the page, and all it says is true', async () => {
    render(<Order />);
    await userEvent.type(screen.getByLabelText('Name'), 'Ada');
    const press = async (name: string) => {
      translate();
      await userEvent.click(screen.getByRole('button', { name }));
    };
    await press('More');
    expect(screen.getByTestId('copies')).toHaveTextContent('2 copies of Dune and more');
    expect(screen.getByTestId('total')).toHaveTextContent('Total $20.00');
    await press('Fail');
    expect(screen.getByRole('alert')).toHaveTextContent('The price has changed.');
    expect(screen.getByTestId('total')).toHaveTextContent('before Total $20.00');
    expect(screen.getByTestId('copies')).toHaveTextContent('2 copies of Dune and nothing more');
    await press('Turn');
    expect(screen.getAllByRole('listitem').map((one) => one.textContent)).toEqual(['2 × Momo', '2 × Emma', '2 × Dune']);
    await press('Drop');
    await press('Drop');
    await press('Drop');
    expect(screen.queryByRole('listitem')).toBeNull();
    expect(screen.getByTestId('copies')).toHaveTextContent('2 copies of and nothing more');
    await press('Fail');
    expect(screen.queryByRole('alert')).toBeNull();
    expect(screen.getByRole('form')).not.toHaveTextContent('Something failed');
    expect(screen.getByTestId('total')).toHaveTextContent(/^Total \$20\.00$/);
    expect(screen.getByLabelText('Name')).toHaveValue('Ada');
    expect(screen.getByRole('form')).toHaveTextContent('Thank you');
  });

  test('without a moment between the translation and the change', () => {
    render(<Order />);
    const buttons = ['More', 'Fail', 'Turn', 'Drop', 'Fail', 'Drop', 'Drop'].map((name) =>
      screen.getByRole('button', { name }),
    );
    for (const button of buttons) {
      act(() => {
        translate();
        button.click();
      });
    }
    expect(screen.getByTestId('copies')).toHaveTextContent('2 copies of and more');
    expect(screen.getByTestId('total')).toHaveTextContent(/^Total \$20\.00$/);
    expect(screen.queryByRole('alert')).toBeNull();
  });
});

test('a wrapper with other texts in it stays', () => {
  const box = document.body.appendChild(document.createElement('div'));
  const [one, two] = [document.createTextNode('one '), document.createTextNode('two')];
  box.append(one, two);
  const font = document.createElement(FONT);
  box.append(font);
  font.append(one, two);
  box.removeChild(one);
  expect(box).toHaveTextContent(/^two$/);
  box.insertBefore(document.createElement('br'), two);
  expect(box.firstElementChild?.tagName).toBe('BR');
  box.remove();
});
