// Made by `npm run types` from the OpenAPI document of admin; never edited.
export interface paths {
  "/admin/books": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    get: operations["listBooks"];
    post: operations["createBook"];
  };
  "/admin/books/{book_id}": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    get: operations["getBook"];
    put: operations["editBook"];
    delete: operations["withdrawBook"];
  };
  "/admin/orders": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    get: operations["listOrders"];
  };
  "/admin/orders/{order_id}": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    get: operations["getOrder"];
  };
  "/admin/orders/{order_id}/status": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    patch: operations["setOrderStatus"];
  };
  "/admin/stock": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    get: operations["listStock"];
  };
  "/admin/stock/{book_id}": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    get: operations["getStock"];
    put: operations["setStock"];
  };
  "/admin/stock/{book_id}/adjust": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    post: operations["adjustStock"];
  };
  "/admin/stock/{book_id}/movements": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    get: operations["listStockMovements"];
  };
  "/admin/summary": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    get: operations["getSummary"];
  };
}
export interface components {
  schemas: {
    Book: {
      active: boolean;
      author: string;
      cover_url: string | null;
      created_at: string;
      currency: "USD";
      description: string | null;
      genre: string | null;
      id: string;
      isbn: string | null;
      price: string;
      published_year: number | null;
      title: string;
      updated_at: string;
      version: number;
    };
    BookEdit: {
      active?: boolean | null;
      author: string;
      cover_url?: string | null;
      description?: string | null;
      genre?: string | null;
      isbn?: string | null;
      price: string;
      published_year?: number | null;
      title: string;
    };
    BookPage: {
      items: components["schemas"]["StockedBook"][];
      page: number;
      pages: number;
      size: number;
      total: number;
      warnings: components["schemas"]["WarningNote"][];
    };
    BookWithWarnings: {
      active: boolean;
      author: string;
      available?: number | null;
      cover_url: string | null;
      created_at: string;
      currency: "USD";
      description: string | null;
      genre: string | null;
      id: string;
      isbn: string | null;
      low_stock_threshold?: number | null;
      price: string;
      published_year: number | null;
      quantity?: number | null;
      reserved?: number | null;
      /** @enum {string} */
      stock_status: "in_stock" | "low_stock" | "out_of_stock" | "pending" | "unknown";
      title: string;
      updated_at: string;
      version: number;
      warnings: components["schemas"]["WarningNote"][];
    };
    Movement: {
      actor: string;
      book_id: string;
      created_at: string;
      delta: number;
      id: number;
      order_id: string | null;
      reason: string;
      reserved_delta: number;
    };
    NewBook: {
      author: string;
      cover_url?: string | null;
      description?: string | null;
      genre?: string | null;
      initial_quantity: number;
      isbn?: string | null;
      price: string;
      published_year?: number | null;
      title: string;
    };
    NewStatus: { status: components["schemas"]["Status"]; };
    OrderCounts: { CANCELLED: number; CONFIRMED: number; DELIVERED: number; SHIPPED: number; };
    OrderDetail: {
      cancel_reason: string | null;
      created_at: string;
      currency: "USD";
      id: string;
      items: components["schemas"]["OrderLine"][];
      shipping: components["schemas"]["ShippingAddress"];
      status: components["schemas"]["Status"];
      total: string;
      updated_at: string;
      user_id: string;
    };
    OrderLine: {
      book_id: string;
      line_total: string;
      price: string;
      quantity: number;
      title: string;
    };
    OrderSummary: {
      cancel_reason: string | null;
      created_at: string;
      currency: "USD";
      id: string;
      item_count: number;
      status: components["schemas"]["Status"];
      total: string;
      updated_at: string;
      user_id: string;
    };
    Page_Movement_: {
      items: components["schemas"]["Movement"][];
      page: number;
      pages: number;
      size: number;
      total: number;
    };
    Page_OrderSummary_: {
      items: components["schemas"]["OrderSummary"][];
      page: number;
      pages: number;
      size: number;
      total: number;
    };
    Page_StockRow_: {
      items: components["schemas"]["StockRow"][];
      page: number;
      pages: number;
      size: number;
      total: number;
    };
    ShippingAddress: {
      city: string;
      country: string;
      line1: string;
      line2?: string | null;
      name: string;
      postal_code: string;
    };
    /** @enum {string} */
    Status: "CONFIRMED" | "SHIPPED" | "DELIVERED" | "CANCELLED";
    Stock: {
      available: number;
      book_id: string;
      low_stock_threshold: number;
      quantity: number;
      reserved: number;
      /** @enum {string} */
      stock_status: "in_stock" | "low_stock" | "out_of_stock";
      updated_at: string;
      version: number;
    };
    StockAdjustment: { delta: number; reason: string; };
    StockRow: {
      active: boolean | null;
      available?: number | null;
      book_id: string;
      low_stock_threshold?: number | null;
      quantity?: number | null;
      reserved?: number | null;
      /** @enum {string} */
      stock_status: "in_stock" | "low_stock" | "out_of_stock" | "pending" | "unknown";
      title: string | null;
      version: number;
    };
    StockSetting: { low_stock_threshold?: number | null; quantity: number; };
    StockedBook: {
      active: boolean;
      author: string;
      available?: number | null;
      cover_url: string | null;
      created_at: string;
      currency: "USD";
      description: string | null;
      genre: string | null;
      id: string;
      isbn: string | null;
      low_stock_threshold?: number | null;
      price: string;
      published_year: number | null;
      quantity?: number | null;
      reserved?: number | null;
      /** @enum {string} */
      stock_status: "in_stock" | "low_stock" | "out_of_stock" | "pending" | "unknown";
      title: string;
      updated_at: string;
      version: number;
    };
    Summary: {
      active_books: number | null;
      low_stock: number | null;
      orders_by_status: components["schemas"]["OrderCounts"] | null;
      out_of_stock: number | null;
      warnings: components["schemas"]["WarningNote"][];
    };
    WarningNote: { code: string; detail: string; part: string; };
  };
}
export interface operations {
  listBooks: {
    parameters: {
      query?: { q?: string | null; active?: boolean | null; page?: number; size?: number; };
    };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["BookPage"]; };
      };
    };
  };
  createBook: {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    requestBody: { content: { "application/json": components["schemas"]["NewBook"]; }; };
    responses: {
      201: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["BookWithWarnings"]; };
      };
    };
  };
  getBook: {
    parameters: {
      path: { book_id: string; };
    };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["BookWithWarnings"]; };
      };
    };
  };
  editBook: {
    parameters: {
      header?: { "If-Match"?: string | null; };
      path: { book_id: string; };
    };
    requestBody: { content: { "application/json": components["schemas"]["BookEdit"]; }; };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["Book"]; };
      };
    };
  };
  withdrawBook: {
    parameters: {
      path: { book_id: string; };
    };
    responses: {
      204: {
        headers: { [name: string]: unknown; };
      };
    };
  };
  listOrders: {
    parameters: {
      query?: {
        page?: number;
        size?: number;
        status?: components["schemas"]["Status"] | null;
        from?: string | null;
        to?: string | null;
        user_id?: string | null;
      };
    };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["Page_OrderSummary_"]; };
      };
    };
  };
  getOrder: {
    parameters: {
      path: { order_id: string; };
    };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["OrderDetail"]; };
      };
    };
  };
  setOrderStatus: {
    parameters: {
      path: { order_id: string; };
    };
    requestBody: { content: { "application/json": components["schemas"]["NewStatus"]; }; };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["OrderDetail"]; };
      };
    };
  };
  listStock: {
    parameters: {
      query?: { q?: string | null; low?: boolean; page?: number; size?: number; };
    };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["Page_StockRow_"]; };
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
  setStock: {
    parameters: {
      header?: { "If-Match"?: string | null; };
      path: { book_id: string; };
    };
    requestBody: { content: { "application/json": components["schemas"]["StockSetting"]; }; };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["Stock"]; };
      };
    };
  };
  adjustStock: {
    parameters: {
      path: { book_id: string; };
    };
    requestBody: { content: { "application/json": components["schemas"]["StockAdjustment"]; }; };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["Stock"]; };
      };
    };
  };
  listStockMovements: {
    parameters: {
      query?: { page?: number; size?: number; };
      path: { book_id: string; };
    };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["Page_Movement_"]; };
      };
    };
  };
  getSummary: {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["Summary"]; };
      };
    };
  };
}
