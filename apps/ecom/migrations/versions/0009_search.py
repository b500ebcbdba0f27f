r"""One folding for what is searched and for what is searched for: table book_search, filled by a trigger.

Revision ID: 0009
Revises: 0008

Words are kept in a table of their own: ranking reads them instead of folding each match again, a change of price does
not touch the index, and the captured table stays as it is. ``book_search_fold`` is the only folding there is; the
index's side (``book_search_terms``) and the query's (``book_search_query``) begin with it and with the same
``book_search_words``, so that whatever is stored is found by itself:

- compatibility forms (NFKD) and full case folding of ICU: full width, ligatures, Straße = STRASSE, the final sigma;
- accents, vowel points of Arabic and Hebrew and characters that nobody sees are left out, vowel signs of Indic and
  South-East Asian scripts stay; letters with strokes become the letter, ligatures two;
- apostrophes join (O'Brien = obrien), all other punctuation and symbols separate;
- writing without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) becomes pairs of characters;
- neighbours are joined, too (leguin, jrr, eighty-four = eightyfour), at the lowest weight;
- a text of symbols only is found by its symbols, and what folds to nothing by itself.

The functions and the index of 0001 stay until no release uses them.
"""

# ruff: noqa: S608 # the statements are our own words
import sqlalchemy as sa
from alembic import op

from bookstore_common.migrations import granted_roles

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_BATCH = 500
# Before NFKD, which makes a space of the acute accent: its two code points.
_ACUTES = "\u00b4\u1ffd"
# ASCII's two, quotation marks, the prime, modifier letters, Armenian, Hebrew, saltillo.
_APOSTROPHES = "'`\u2018\u2019\u201b\u2032\u02b9\u02bb\u02bc\u02bd\u02be\u02bf\u02ca\u02cb\u055a\u05f3\ua78b\ua78c"
# Letters that have no decomposition; the final sigma; letters that Arabic and Persian write in two ways: alef maqsura,
# teh marbuta, keheh, Farsi yeh, alef wasla.
_FROM = "øłđðħŧŋɨƀɇɉɍɏⱥⱦƶȼǥʉ\u03c2\u0649\u0629\u06a9\u06cc\u0671"
_TO = "olddhtnibejryatzcgu\u03c3\u064a\u0647\u0643\u064a\u0627"
_PAIRS = {"œ": "oe", "æ": "ae", "þ": "th"}
# Accents of European scripts, points of Hebrew, Arabic (with the tatweel) and Syriac.
_ACCENTS = (
    r"\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
    r"\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u0711\u0730-\u074a\u08d3-\u08e1\u08e3-\u08ff\u1ab0-\u1aff\u1dc0-\u1dff"
    r"\u20d0-\u20ff\u2de0-\u2dff\ua66f-\ua672\ua674-\ua67d\ufe20-\ufe2f"
)
_INVISIBLE = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    r"\ufff9-\ufffb\U000e0000-\U000e01ef"
)
# Beside the categories of punctuation.
_SYMBOLS = (
    r"$+<=>^|~\u0060\u00a2-\u00a9\u00ac\u00ae-\u00b1\u00b8\u00d7\u00f7\u02c2-\u02c5\u02d2-\u02df\u2010-\u206f\u20a0-\u20cf"
    r"\u2190-\u2bff\u3004\u3012\u3013\u3020\u3036\ufe62\ufe64-\ufe69\ufffc\ufffd\U0001d000-\U0001d24f\U0001f000-\U0001faff"
)
_OTHER = rf"[:space:][:punct:][:cntrl:]{_SYMBOLS}"
# Han, kana, Thai, Lao, Khmer, Burmese and the scripts of the Tai languages.
_PACKED = (
    r"\u3005-\u3007\u3041-\u3096\u3099-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003ffff\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u0edc-\u0edf\u1000-\u103f\u1050-\u109f\ua9e0-\ua9ef"
    r"\uaa60-\uaa7f\u1780-\u17d3\u17d7\u17dc\u17dd\u1950-\u197f\u1980-\u19cf\u1a20-\u1a7f"
)


def _quoted(text: str) -> str:
    return text.replace("'", "''")


_FOLD = f"""
CREATE OR REPLACE FUNCTION book_search_fold(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
SELECT normalize(regexp_replace(replace(replace(replace(
    translate(
        normalize(lower(upper(lower(
            normalize(translate(value, '{_ACUTES}', ''''''), NFKD) COLLATE "und-x-icu"
        ))), NFKD),
        '{_quoted(_APOSTROPHES + _FROM)}', '{_quoted("'" * len(_APOSTROPHES) + _TO)}'),
    {"), ".join(f"'{one}', '{two}'" for one, two in _PAIRS.items())}),
    '[{_ACCENTS}{_INVISIBLE}]', '', 'g'), NFC)
$$
"""
# Words of a folded text in their order; a run of packed writing is one.
_WORDS = rf"""
CREATE OR REPLACE FUNCTION book_search_words(folded text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
SELECT coalesce(array_agg(left(found[1], 200) ORDER BY place), '{{}}')
FROM regexp_matches(folded COLLATE "und-x-icu", '[{_PACKED}]+|[^{_OTHER}{_PACKED}]+', 'g')
    WITH ORDINALITY AS words (found, place)
$$
"""
# Runs of everything else but spaces; if there is neither word nor run, the text as it was, so that it finds itself.
_MARKS = rf"""
CREATE OR REPLACE FUNCTION book_search_marks(value text, folded text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
SELECT CASE
    WHEN count(found) > 0 THEN array_agg(left(found[1], 200) ORDER BY place)
    WHEN cardinality(book_search_words(folded)) > 0 THEN '{{}}'
    ELSE array_remove(ARRAY[left(regexp_replace(
        normalize(translate(value, '{_ACUTES}', ''''''), NFKD), '[[:space:]]', '', 'g'), 200)], '')
    END
FROM regexp_matches(folded COLLATE "und-x-icu", '[[:punct:]{_SYMBOLS}]+', 'g')
    WITH ORDINALITY AS marks (found, place)
$$
"""
_IS_PACKED = rf"""
CREATE OR REPLACE FUNCTION book_search_is_packed(word text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$ SELECT word ~ '^[{_PACKED}]' $$
"""
# Neighbours written as one word: any two, or up to five of which all but the last have at most three letters.
_JOINS = """
CREATE OR REPLACE FUNCTION book_search_joins(words text[], OUT first int, OUT last int, OUT joined text)
RETURNS SETOF record LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
BEGIN
    FOR i IN 1 .. cardinality(words) - 1 LOOP
        first := i;
        joined := words[i];
        CONTINUE WHEN book_search_is_packed(joined);
        FOR j IN i + 1 .. least(i + 4, cardinality(words)) LOOP
            EXIT WHEN book_search_is_packed(words[j])
                OR (j > i + 1 AND (char_length(words[j - 1]) > 3 OR char_length(words[i]) > 3));
            last := j;
            joined := left(joined || words[j], 200);
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$
"""
# A lexeme as tsvector's and tsquery's text has it, with what follows it there.
_LEXEME = r"""
CREATE OR REPLACE FUNCTION book_search_lexeme(lexeme text, suffix text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
SELECT ' ''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''' || suffix
$$
"""
# Of English words; an empty text for words that say nothing (the, of), null where there is no stem of its own.
_STEM = """
CREATE OR REPLACE FUNCTION book_search_stem(word text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
SELECT nullif(CASE WHEN word ~ '^[a-z]+$' THEN coalesce((ts_lexize('pg_catalog.english_stem', word))[1], '') END, word)
$$
"""
_TEXT = """
CREATE OR REPLACE FUNCTION book_search_text(value text, weight text, stems text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
DECLARE
    folded text := book_search_fold(value);
    words text[] := book_search_words(replace(folded, '''', ''));
    result text := '';
    stem text;
BEGIN
    FOR i IN 1 .. cardinality(words) LOOP
        IF book_search_is_packed(words[i]) THEN
            -- Pairs, the last one of which is a single character: each character begins one.
            FOR k IN 1 .. char_length(words[i]) LOOP
                result := result || book_search_lexeme(substr(words[i], k, 2), ':' || i || weight);
            END LOOP;
            IF i < cardinality(words) AND book_search_is_packed(words[i + 1]) THEN
                result := result || book_search_lexeme(right(words[i], 1) || left(words[i + 1], 1), ':' || i);
            END IF;
        ELSE
            result := result || book_search_lexeme(words[i], ':' || i || weight);
            stem := book_search_stem(words[i]);
            IF stems <> '' AND stem <> '' THEN
                result := result || book_search_lexeme(stem, ':' || i || stems);
            END IF;
        END IF;
    END LOOP;
    result := result || coalesce(
        (SELECT string_agg(book_search_lexeme(joined, ':' || first), '') FROM book_search_joins(words)), '');
    IF position('''' IN folded) > 0 THEN
        result := result || coalesce((SELECT string_agg(book_search_lexeme(word, ':1'), '')
            FROM unnest(book_search_words(replace(folded, '''', ' '))) AS word), '');
    END IF;
    RETURN result || coalesce((SELECT string_agg(book_search_lexeme(mark, ':1'), '')
        FROM unnest(book_search_marks(value, replace(folded, '''', ''))) AS mark), '');
END
$$
"""
# Weights: title and ISBN, author, genre; stems one lower than the words that they are of; D is what was derived.
_TERMS = """
CREATE OR REPLACE FUNCTION book_search_terms(title text, author text, isbn text, genre text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT (book_search_text(title, 'A', 'B') || coalesce(book_search_lexeme(nullif(isbn, ''), ':1A'), ''))::tsvector
    || book_search_text(author, 'B', '')::tsvector
    || coalesce(book_search_text(genre, 'C', 'D'), '')::tsvector
$$
"""
# The words of a title, or its symbols, by which it is recognised as the same.
_PHRASE = """
CREATE OR REPLACE FUNCTION book_search_phrase(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
DECLARE
    folded text := replace(book_search_fold(value), '''', '');
    words text[] := book_search_words(folded);
BEGIN
    RETURN array_to_string(CASE WHEN cardinality(words) > 0 THEN words ELSE book_search_marks(value, folded) END, ' ');
END
$$
"""
# matches: each word as a beginning, as a stem or as a part of neighbours written as one word; words that say nothing
# only where there are no others. whole: the words as they are. marks: the symbols beside the words.
_QUERY = """
CREATE OR REPLACE FUNCTION book_search_query(
    value text, OUT matches tsquery, OUT whole tsquery, OUT marks tsquery, OUT phrase text
) LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
DECLARE
    folded text := replace(book_search_fold(value), '''', '');
    words text[] := book_search_words(folded);
    symbols text[] := book_search_marks(value, folded);
    exact text[] := '{}';
    needed text[] := '{}';
    said boolean := EXISTS (SELECT FROM unnest(words) AS word WHERE book_search_stem(word) IS DISTINCT FROM '');
    stem text;
BEGIN
    phrase := book_search_phrase(value);
    FOR i IN 1 .. cardinality(words) LOOP
        IF NOT book_search_is_packed(words[i]) THEN
            exact := exact || book_search_lexeme(words[i], '');
            stem := book_search_stem(words[i]);
            CONTINUE WHEN stem = '' AND said;
            needed := needed || ('(' || concat_ws(' | ',
                book_search_lexeme(words[i], ':*'),
                CASE WHEN stem <> '' THEN book_search_lexeme(stem, ':*') END,
                (SELECT string_agg(book_search_lexeme(joined, ':*'), ' | ')
                 FROM book_search_joins(words) WHERE first < i AND i <= last)) || ')');
        ELSIF char_length(words[i]) = 1 THEN
            exact := exact || book_search_lexeme(words[i], '');
            needed := needed || book_search_lexeme(words[i], ':*');
        ELSE
            FOR k IN 1 .. char_length(words[i]) - 1 LOOP
                exact := exact || book_search_lexeme(substr(words[i], k, 2), '');
                needed := needed || book_search_lexeme(substr(words[i], k, 2), '');
            END LOOP;
        END IF;
    END LOOP;
    IF cardinality(words) = 0 AND cardinality(symbols) > 0 THEN
        SELECT array_agg(book_search_lexeme(mark, '')), array_agg(book_search_lexeme(mark, ':*'))
            INTO exact, needed FROM unnest(symbols) AS mark;
    END IF;
    matches := nullif(array_to_string(needed, ' & '), '')::tsquery;
    whole := nullif(array_to_string(exact, ' & '), '')::tsquery;
    marks := (SELECT string_agg(book_search_lexeme(mark, ''), ' | ') FROM unnest(symbols) AS mark)::tsquery;
END
$$
"""
# As the owner: nobody else writes here.
_INDEX = """
CREATE OR REPLACE FUNCTION books_search() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO book_search (book_id, phrase, terms) VALUES
        (NEW.id, book_search_phrase(NEW.title), book_search_terms(NEW.title, NEW.author, NEW.isbn, NEW.genre))
        ON CONFLICT (book_id) DO UPDATE SET phrase = excluded.phrase, terms = excluded.terms;
    RETURN NULL;
END
$$
"""
# Each after those that it uses; the name with its arguments is for grants and the way back.
_FUNCTIONS = {
    "book_search_fold(text)": _FOLD,
    "book_search_words(text)": _WORDS,
    "book_search_marks(text, text)": _MARKS,
    "book_search_is_packed(text)": _IS_PACKED,
    "book_search_joins(text[])": _JOINS,
    "book_search_lexeme(text, text)": _LEXEME,
    "book_search_stem(text)": _STEM,
    "book_search_text(text, text, text)": _TEXT,
    "book_search_terms(text, text, text, text)": _TERMS,
    "book_search_phrase(text)": _PHRASE,
    "book_search_query(text)": _QUERY,
}


def upgrade() -> None:
    """Every statement commits, so that books can be written meanwhile; whoever is stopped half-way starts again."""
    with op.get_context().autocommit_block():
        for definition in _FUNCTIONS.values():
            op.execute(sa.text(definition.replace(":", "\\:")))
        op.execute(
            "CREATE TABLE IF NOT EXISTS book_search ("
            " book_id uuid CONSTRAINT book_search_pkey PRIMARY KEY"
            " CONSTRAINT book_search_book_id_fkey REFERENCES books (id) ON DELETE CASCADE,"
            " phrase text NOT NULL, terms tsvector NOT NULL)"
        )
        # No list of what is to be added yet: each search would read it.
        op.execute(
            "CREATE INDEX IF NOT EXISTS book_search_terms_idx ON book_search USING gin (terms) WITH (fastupdate = off)"
        )
        _grant()
        op.execute(_INDEX)
        op.execute(
            "CREATE OR REPLACE TRIGGER books_search AFTER INSERT OR UPDATE OF title, author, isbn, genre ON books"
            " FOR EACH ROW EXECUTE FUNCTION books_search()"
        )
        while _fill():
            pass
        op.execute("ANALYZE book_search")


def _fill() -> int:
    """Index some of the books from before; returns how many. What the trigger does meanwhile is newer."""
    result = op.get_bind().execute(
        sa.text(
            "INSERT INTO book_search (book_id, phrase, terms)"
            " SELECT id, book_search_phrase(title), book_search_terms(title, author, isbn, genre) FROM books"
            " WHERE NOT EXISTS (SELECT FROM book_search WHERE book_id = books.id) LIMIT :batch"
            " ON CONFLICT (book_id) DO NOTHING"
        ),
        {"batch": _BATCH},
    )
    return result.rowcount


def _grant() -> None:
    """Explicit, as in 0001."""
    app, ro, cdc = granted_roles()
    op.execute(f"REVOKE ALL ON book_search FROM {app}, {ro}, {cdc}")
    op.execute(f"GRANT SELECT ON book_search TO {app}, {ro}")
    op.execute(f"GRANT EXECUTE ON FUNCTION {', '.join(_FUNCTIONS)} TO {app}, {ro}")


def downgrade() -> None:
    op.execute("DROP TRIGGER books_search ON books")
    op.execute("DROP FUNCTION books_search()")
    op.execute("DROP TABLE book_search")
    for function in reversed(_FUNCTIONS):
        op.execute(f"DROP FUNCTION {function}")
