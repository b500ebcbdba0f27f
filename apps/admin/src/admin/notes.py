"""Parts that an answer has to do without (SPEC 5.5: a failed part is null and has a warning)."""

from pydantic import BaseModel, ConfigDict, Field

from admin.peers import RefusedError
from bookstore_common.problem import ProblemError


class WarningNote(BaseModel):
    """Why a part of the answer is null."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "part": "stock",
                "code": "gateway_timeout",
                "detail": "The Inventory API does not answer in time.",
            }
        }
    )

    part: str = Field(description="Name of what is missing")
    code: str = Field(description="As the code of a problem")
    detail: str


def warning(part: str, error: ProblemError) -> WarningNote:
    """What an administrator is told about ``part``."""
    code = error.peer_code if isinstance(error, RefusedError) else error.code
    return WarningNote(part=part, code=code, detail=error.detail)
