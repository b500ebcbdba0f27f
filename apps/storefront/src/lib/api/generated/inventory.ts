// Made by `npm run types` from the OpenAPI document of inventory; never edited.
export interface paths {
  "/inven/stock/bulk": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    get: operations["getStockOfMany"];
  };
  "/inven/stock/{book_id}": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    get: operations["getStock"];
  };
}
export interface components {
  schemas: {
    Stock: {
      available: number;
      book_id: string;
      quantity: number;
      reserved: number;
      /** @enum {string} */
      stock_status: "in_stock" | "low_stock" | "out_of_stock";
    };
  };
}
export interface operations {
  getStockOfMany: {
    parameters: {
      query?: { book_ids?: string; };
    };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["Stock"][]; };
      };
    };
  };
  getStock: {
    parameters: {
      path: { book_id: string; };
    };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["Stock"]; };
      };
    };
  };
}
