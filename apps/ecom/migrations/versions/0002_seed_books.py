"""The 30 books that the shop starts with.

Titles, authors, years and ISBNs are public facts; descriptions and prices are ours.

Revision ID: 0002
Revises: 0001
"""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_FIRST_CREATED = datetime(2025, 1, 6, 9, 0, tzinfo=UTC)
# No multiple of a day: the books' order by age is unlike any other order.
_CREATED_STEP = timedelta(days=9, hours=5, minutes=17)
# Coprime to 30, so that neighbours by id are not neighbours by age.
_STRIDE = 7

# title, author, isbn, genre, price, published_year, description; the position gives the id.
# fmt: off
_BOOKS: tuple[tuple[str, str, str, str, str, int, str], ...] = (
    (
        "Pride and Prejudice", "Jane Austen", "9780141439518", "Classics", "9.99", 1813,
        "A sharp-tongued young woman and a proud gentleman learn to see past first impressions.",
    ),
    (
        "Jane Eyre", "Charlotte Brontë", "9780141441146", "Classics", "10.50", 1847,
        "An orphaned governess finds love in a house that keeps a secret in its attic.",
    ),
    (
        "To Kill a Mockingbird", "Harper Lee", "9780061120084", "Classics", "14.99", 1960,
        "A girl in the American South watches her father defend a man whom the town has already judged.",
    ),
    (
        "The Great Gatsby", "F. Scott Fitzgerald", "9780743273565", "Classics", "12.00", 1925,
        "A rich man throws parties for a whole summer in the hope that one guest will come.",
    ),
    (
        "One Hundred Years of Solitude", "Gabriel García Márquez", "9780060883287", "Classics", "16.99", 1967,
        "Seven generations of one family rise and fall with the town that they founded.",
    ),
    (
        "The Hobbit", "J. R. R. Tolkien", "9780547928227", "Fantasy", "13.95", 1937,
        "A home-loving hobbit is talked into a journey to win back a treasure from a dragon.",
    ),
    (
        "The Fellowship of the Ring", "J. R. R. Tolkien", "9780547928210", "Fantasy", "15.99", 1954,
        "Nine companions set out to destroy a ring that nobody can own without being owned.",
    ),
    (
        "A Wizard of Earthsea", "Ursula K. Le Guin", "9780547773742", "Fantasy", "9.49", 1968,
        "A gifted boy sets a shadow loose and has to hunt it to the edge of the world.",
    ),
    (
        "The Name of the Wind", "Patrick Rothfuss", "9780756404741", "Fantasy", "18.00", 2007,
        "An innkeeper tells how he became the most famous magician of his age.",
    ),
    (
        "A Game of Thrones", "George R. R. Martin", "9780553573404", "Fantasy", "11.99", 1996,
        "Great families fight for a throne while an old danger stirs in the north.",
    ),
    (
        "Dune", "Frank Herbert", "9780441172719", "Science Fiction", "10.99", 1965,
        "A young heir grows up among the people of a desert planet that everyone wants to rule.",
    ),
    (
        "Foundation", "Isaac Asimov", "9780553293357", "Science Fiction", "8.99", 1951,
        "A mathematician foresees the fall of an empire and plans how to shorten the dark age after it.",
    ),
    (
        "Neuromancer", "William Gibson", "9780441569595", "Science Fiction", "17.00", 1984,
        "A burnt-out hacker is given one last job by an employer who is not a person.",
    ),
    (
        "The Left Hand of Darkness", "Ursula K. Le Guin", "9780441478125", "Science Fiction", "16.00", 1969,
        "An envoy tries to understand a frozen world whose people are neither men nor women.",
    ),
    (
        "Nineteen Eighty-Four", "George Orwell", "9780451524935", "Science Fiction", "9.99", 1949,
        "A clerk who rewrites the past starts to keep a diary, which is forbidden.",
    ),
    (
        "Murder on the Orient Express", "Agatha Christie", "9780062693662", "Mystery", "14.50", 1934,
        "A passenger is found dead in a train stuck in the snow, and everyone on board had a reason.",
    ),
    (
        "The Hound of the Baskervilles", "Arthur Conan Doyle", "9780141032436", "Mystery", "7.99", 1902,
        "A detective looks for the truth behind a family curse on a lonely moor.",
    ),
    (
        "The Maltese Falcon", "Dashiell Hammett", "9780679722649", "Mystery", "15.00", 1930,
        "A private detective loses his partner over a statuette that many people are after.",
    ),
    (
        "The Girl with the Dragon Tattoo", "Stieg Larsson", "9780307454546", "Mystery", "16.95", 2005,
        "A journalist and a hacker reopen the case of a girl who vanished forty years ago.",
    ),
    (
        "Gone Girl", "Gillian Flynn", "9780307588371", "Mystery", "17.00", 2012,
        "A wife disappears on her wedding anniversary, and two stories about her marriage disagree.",
    ),
    (
        "Sapiens", "Yuval Noah Harari", "9780062316097", "History", "24.99", 2011,
        "A short account of how one unremarkable ape came to run the planet.",
    ),
    (
        "Guns, Germs, and Steel", "Jared Diamond", "9780393317558", "History", "19.95", 1997,
        "Geography, crops and animals are offered as the reason why some societies conquered others.",
    ),
    (
        "SPQR", "Mary Beard", "9781631492228", "History", "21.95", 2015,
        "A thousand years of ancient Rome, told with attention to those who did not write it down.",
    ),
    (
        "A Brief History of Time", "Stephen Hawking", "9780553380163", "Science", "18.00", 1988,
        "A physicist explains the big bang, black holes and time itself without equations.",
    ),
    (
        "The Selfish Gene", "Richard Dawkins", "9780199291151", "Science", "17.95", 1976,
        "Evolution is told from the point of view of the gene instead of the animal.",
    ),
    (
        "Silent Spring", "Rachel Carson", "9780618249060", "Science", "15.95", 1962,
        "A biologist shows what pesticides do to birds, rivers and people.",
    ),
    (
        "Long Walk to Freedom", "Nelson Mandela", "9780316548182", "Biography", "20.00", 1994,
        "A lawyer turned prisoner turned president tells the story of his life.",
    ),
    (
        "The Pragmatic Programmer", "David Thomas, Andrew Hunt", "9780135957059", "Technology", "49.99", 1999,
        "Working developers share the habits that keep software easy to change.",
    ),
    (
        "Clean Code", "Robert C. Martin", "9780132350884", "Technology", "44.95", 2008,
        "A handbook of small decisions that make code readable to the next person.",
    ),
    (
        "Designing Data-Intensive Applications", "Martin Kleppmann", "9781449373320", "Technology", "54.90", 2017,
        "The ideas behind databases, queues and streams, and what each of them promises.",
    ),
)
# fmt: on

_books = sa.table(
    "books",
    sa.column("id", sa.Uuid()),
    sa.column("title", sa.String()),
    sa.column("author", sa.String()),
    sa.column("isbn", sa.String()),
    sa.column("genre", sa.String()),
    sa.column("price", sa.Numeric()),
    sa.column("published_year", sa.Integer()),
    sa.column("description", sa.Text()),
    sa.column("created_at", sa.DateTime(timezone=True)),
    sa.column("updated_at", sa.DateTime(timezone=True)),
)


def seed_id(number: int) -> uuid.UUID:
    """Fixed id of seed book 1-30: the number in decimal at the end (SPEC 5.3)."""
    return uuid.UUID(f"00000000-0000-0000-0000-0000000000{number:02d}")


def upgrade() -> None:
    rows = []
    for position, (title, author, isbn, genre, price, year, description) in enumerate(_BOOKS):
        created = _FIRST_CREATED + _CREATED_STEP * (position * _STRIDE % len(_BOOKS))
        rows.append(
            {
                "id": seed_id(position + 1),
                "title": title,
                "author": author,
                "isbn": isbn,
                "genre": genre,
                "price": Decimal(price),
                "published_year": year,
                "description": description,
                "created_at": created,
                "updated_at": created,
            }
        )
    op.bulk_insert(_books, rows)


def downgrade() -> None:
    op.execute(_books.delete().where(_books.c.id.in_([seed_id(number + 1) for number in range(len(_BOOKS))])))
