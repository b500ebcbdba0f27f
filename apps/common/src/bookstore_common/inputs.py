"""What JSON bodies may hold: known fields, text without invisible characters, money as text, whole numbers (SPEC 5.1).

FastAPI reports what these types refuse as a 422 problem that names the field.
"""

import re
import uuid
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    field_validator,
)
from pydantic_core.core_schema import ValidationInfo

from bookstore_common.characters import refuse_control_characters, refuse_invisible
from bookstore_common.problem import MAX_ERRORS, FieldError, InvalidInputError

# Lower-case for people who paste; more digits than NUMERIC(12,2) holds are refused by the types below.
_AMOUNT = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,2})?")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_ID = TypeAdapter(uuid.UUID)
# Prices are numeric(10,2), totals numeric(12,2) (SPEC 5.3).
MAX_PRICE = Decimal("99999999.99")
MAX_TOTAL = Decimal("9999999999.99")
# Of one book in a cart, an order, a reservation.
MAX_QUANTITY = 99
# Copies of one book that a shop can have: far inside PostgreSQL's integer, so that sums stay inside, too.
MAX_STOCK = 1_000_000


class _Multiline:
    """Marks a field in which line breaks and tabs are text."""


def _check_strings(value: Any, *, multiline: bool) -> None:
    if isinstance(value, str):
        refuse_invisible(value, multiline=multiline)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_strings(key, multiline=False)
            _check_strings(item, multiline=multiline)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_strings(item, multiline=multiline)


def _holds_models(annotation: Any) -> bool:
    """Whether a field's type is a StrictModel, or a list, tuple or union of them."""
    if isinstance(annotation, type) and issubclass(annotation, StrictModel):
        return True
    if get_origin(annotation) in {list, tuple, Union, UnionType}:
        parts = [part for part in get_args(annotation) if part not in (type(None), ...)]
        return bool(parts) and all(_holds_models(part) for part in parts)
    return False


class StrictModel(BaseModel):
    """Base of request bodies: unknown fields are errors, text is stripped and holds no invisible characters.

    Fields of type :data:`Paragraphs` may hold line breaks and tabs. Instances cannot be changed.
    """

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_invisible_characters(cls, value: Any, info: ValidationInfo) -> Any:
        # Before white space at the ends is cut, which would forgive a line break there.
        field = cls.model_fields[info.field_name] if info.field_name else None
        if field is not None and _holds_models(field.annotation):
            # Its own fields are looked at there, so that an error names them and not the whole.
            return value
        metadata = field.metadata if field is not None else []
        _check_strings(value, multiline=any(isinstance(part, _Multiline) for part in metadata))
        return value


def _amount(value: Any) -> Any:
    """Only text: a JSON number has gone through binary floating point somewhere."""
    if isinstance(value, Decimal):  # made by our own code
        return value
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value.strip()):
        raise ValueError('must be an amount as text with at most two decimals, for example "12.90"')
    return value


def _text_of(value: Decimal) -> str:
    return f"{value:.2f}"


_AS_TEXT = PlainSerializer(_text_of, return_type=str)


def _amount_schema(example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,10}(\.[0-9]{1,2})?$", "examples": [example]})


# Amounts in USD: Decimal in Python, text with two decimals in JSON.
Money = Annotated[
    Decimal,
    Field(ge=0, le=MAX_TOTAL, decimal_places=2),
    BeforeValidator(_amount),
    _AS_TEXT,
    _amount_schema("25.80"),
]
Price = Annotated[
    Decimal,
    Field(gt=0, le=MAX_PRICE, decimal_places=2),
    BeforeValidator(_amount),
    _AS_TEXT,
    _amount_schema("12.90"),
]

# Amounts in answers, which are written by PostgreSQL or from a Decimal with two decimals.
AmountText = Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]{2}$")]
Amount = Annotated[AmountText, Field(description="Amount with two decimals")]

# Strict: true, "5" and 5.0 are not numbers of copies.
Quantity = Annotated[int, Field(strict=True, ge=1, le=MAX_QUANTITY, examples=[1])]
StockQuantity = Annotated[int, Field(strict=True, ge=0, le=MAX_STOCK, examples=[50])]
WholeNumber = Annotated[int, Field(strict=True, ge=-(2**31), le=2**31 - 1)]


def _not_zero(value: int) -> int:
    if value == 0:
        raise ValueError("must not be 0")
    return value


NotZero = AfterValidator(_not_zero)

# One line of text; white space at both ends is cut before the length counts.
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
ShortText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
# Several lines.
Paragraphs = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=10_000), _Multiline()]

# For query parameters, which no StrictModel guards and which are only compared: rows of old may hold anything.
QueryText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    BeforeValidator(lambda value: refuse_control_characters(value) if isinstance(value, str) else value),
]


def _moment(value: Any) -> Any:
    """Only RFC 3339 text: a bare number or date would be taken for a time nobody meant."""
    if isinstance(value, datetime):  # made by our own code
        return value
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise ValueError('must be a date and time with its zone (RFC 3339), for example "2026-01-31T12:00:00Z"')
    return value


# A moment in a query; a plus sign in the address must be written %2B.
Moment = Annotated[datetime, BeforeValidator(_moment)]


def id_list(name: str, text: str, most: int) -> list[uuid.UUID]:
    """Ids of a comma list, each once; raises InvalidInputError about the query parameter ``name``."""
    if not text:
        return []
    parts = text.split(",", most)
    if len(parts) > most:
        message = f"has more than {most} ids; ask several times"
        raise _refused(name, [FieldError(field=name, location="query", message=message)])
    ids: dict[uuid.UUID, None] = {}
    errors = []
    for place, part in enumerate(parts):
        try:
            ids[_ID.validate_python(part)] = None
        except ValidationError:
            errors.append(FieldError(field=f"{name}.{place}", location="query", message="must be a UUID"))
    if errors:
        raise _refused(name, errors[:MAX_ERRORS])
    return list(ids)


def _refused(name: str, errors: Sequence[FieldError]) -> InvalidInputError:
    return InvalidInputError(f"Invalid input: {name}.", errors=errors)
