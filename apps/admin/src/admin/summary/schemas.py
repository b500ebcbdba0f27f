"""What the summary answers."""

from pydantic import BaseModel, ConfigDict, Field

from admin.notes import WarningNote


class OrderCounts(BaseModel):
    """How many orders there are in each status."""

    CONFIRMED: int = Field(ge=0)
    SHIPPED: int = Field(ge=0)
    DELIVERED: int = Field(ge=0)
    CANCELLED: int = Field(ge=0)


class Summary(BaseModel):
    """Numbers for the start page. One that could not be had is null, and ``warnings`` says why."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "active_books": 30,
                "orders_by_status": {"CONFIRMED": 4, "SHIPPED": 2, "DELIVERED": 11, "CANCELLED": 1},
                "low_stock": 2,
                "out_of_stock": 1,
                "warnings": [],
            }
        }
    )

    active_books: int | None = Field(description="Books on sale")
    orders_by_status: OrderCounts | None
    low_stock: int | None = Field(
        description="Books at or below their threshold, those out of stock included: as many as `low=true` lists"
    )
    out_of_stock: int | None = Field(description="Books of which no copy can be sold")
    warnings: list[WarningNote]
