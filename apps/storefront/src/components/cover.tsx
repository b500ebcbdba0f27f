import { useState, type ReactElement } from 'react';
import { coverArt, isPictured, wrap, type CoverArt } from '../lib/cover-art';
import { bare } from '../lib/format';

interface Props {
  title: string;
  author: string;
  url?: string | null;
  /** The first ones on a page are not loaded lazily. */
  eager?: boolean;
}

/** A book's cover: its picture if the shop has one, else one drawn from title and author. Decoration: both stand beside it as text. */
export function Cover({ title, author, url, eager = false }: Props): ReactElement {
  const [broken, setBroken] = useState(false);
  if (!broken && isPictured(url)) {
    return (
      <img
        className="cover"
        src={url}
        alt=""
        width={200}
        height={300}
        loading={eager ? 'eager' : 'lazy'}
        onError={() => {
          setBroken(true);
        }}
      />
    );
  }
  const art = coverArt(title, author);
  const lines = wrap(bare(title), 14, 5);
  const size = lines.length > 3 || lines.some((line) => line.length > 11) ? 20 : 24;
  const start = 58;
  return (
    <svg className="cover" viewBox="0 0 200 300" aria-hidden="true" focusable="false" data-cover="drawn">
      <rect width="200" height="300" fill={art.paper} />
      <Pattern art={art} />
      <line x1="24" x2="64" y1="30" y2="30" stroke={art.ink} strokeWidth="2.5" />
      <text className="cover-title" fill={art.ink} fontSize={size}>
        {lines.map((line, index) => (
          <tspan key={`${String(index)}${line}`} x="24" y={start + index * size * 1.14}>
            {line}
          </tspan>
        ))}
      </text>
      <rect y="262" width="200" height="38" fill={art.paper} opacity="0.92" />
      <text className="cover-author" fill={art.ink} fontSize="11.5" x="24" y="285">
        {wrap(bare(author), 26, 1)[0] ?? ''}
      </text>
      <rect x="0" width="9" height="300" fill="#000" opacity="0.12" />
      <rect x="9" width="1.5" height="300" fill="#fff" opacity="0.25" />
    </svg>
  );
}

function Pattern({ art: { pattern, first, second, chance } }: { art: CoverArt }): ReactElement {
  switch (pattern) {
    case 0: // Hills under a sun.
      return (
        <g>
          <circle cx={60 + chance(1) * 90} cy={178} r={30 + chance(2) * 14} fill={second} />
          <path
            d={`M0 ${String(216 - chance(3) * 24)} Q 60 ${String(170 + chance(4) * 20)} 120 212 T 200 ${String(196 + chance(5) * 16)} V300 H0Z`}
            fill={first}
          />
          <path d={`M0 250 Q 70 ${String(214 + chance(6) * 20)} 200 256 V300 H0Z`} fill={second} opacity="0.75" />
        </g>
      );
    case 1: // Arches, one within the other.
      return (
        <g fill="none" strokeWidth="11">
          {[0, 1, 2, 3].map((step) => (
            <path
              key={step}
              d={`M${String(34 + step * 18)} 300 V${String(226 + step * 6)} A${String(66 - step * 18)} ${String(66 - step * 18)} 0 0 1 ${String(166 - step * 18)} ${String(226 + step * 6)} V300`}
              stroke={step % 2 ? second : first}
            />
          ))}
        </g>
      );
    case 2: // Stripes.
      return (
        <g>
          {[0, 1, 2, 3, 4, 5].map((step) => (
            <rect
              key={step}
              x="-10"
              width={84 + chance(step) * 102}
              y={166 + step * 16}
              height="9"
              rx="4.5"
              fill={step % 2 ? second : first}
            />
          ))}
        </g>
      );
    case 3: // Overlapping discs.
      return (
        <g>
          <circle cx={70 + chance(1) * 20} cy="204" r={46 + chance(2) * 10} fill={first} />
          <circle
            cx={130 + chance(3) * 16}
            cy={196 + chance(4) * 18}
            r={34 + chance(5) * 10}
            fill={second}
            opacity="0.85"
          />
        </g>
      );
    case 4: // A grid of quarter circles.
      return (
        <g>
          {[...Array(12).keys()].map((cell) => {
            const x = 24 + (cell % 4) * 38;
            const y = 160 + Math.floor(cell / 4) * 34;
            const turn = Math.floor(chance(cell) * 4) * 90;
            return (
              <path
                key={cell}
                d="M-15 -15 A30 30 0 0 1 15 15 L-15 15Z"
                fill={chance(cell + 20) > 0.5 ? first : second}
                transform={`translate(${String(x + 17)} ${String(y + 15)}) rotate(${String(turn)})`}
              />
            );
          })}
        </g>
      );
    case 5: // Waves.
      return (
        <g fill="none" strokeWidth="6" strokeLinecap="round">
          {[0, 1, 2, 3, 4].map((step) => (
            <path
              key={step}
              d={`M-10 ${String(170 + step * 19)} q 22 ${String(-22 + chance(step) * 10)} 44 0 t 44 0 t 44 0 t 44 0 t 44 0`}
              stroke={step % 2 ? second : first}
            />
          ))}
        </g>
      );
    default: // A window with a moon.
      return (
        <g>
          <rect x="34" y="158" width="132" height="104" rx="4" fill={first} />
          <circle cx={70 + chance(1) * 60} cy={196 + chance(2) * 16} r="22" fill={second} />
          <circle cx={80 + chance(1) * 60} cy={190 + chance(2) * 16} r="18" fill={first} />
        </g>
      );
  }
}
