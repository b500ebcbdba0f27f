"""What the session endpoints answer."""

from pydantic import BaseModel, ConfigDict, Field


class CsrfTokenBody(BaseModel):
    """To be sent as X-CSRF-Token with every POST, PUT, PATCH and DELETE."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"token": "k3J0c2VjcmV0LWNzcmYtdG9rZW4tZXhhbXBsZS0xMjM0NQ", "expires_in": 1800}},
    )

    token: str
    expires_in: int = Field(gt=0, description="Seconds; every use starts them anew")
