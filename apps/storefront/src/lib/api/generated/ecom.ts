// Made by `npm run types` from the OpenAPI document of ecom; never edited.
export interface paths {
  "/ecom/books": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    get: operations["listBooks"];
  };
  "/ecom/books/search": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    get: operations["searchBooks"];
  };
  "/ecom/books/{book_id}": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    get: operations["getBook"];
  };
  "/ecom/cart": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    get: operations["getCart"];
    delete: operations["clearCart"];
  };
  "/ecom/cart/items": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    post: operations["addCartItem"];
  };
  "/ecom/cart/items/{item_id}": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    put: operations["setCartItemQuantity"];
    delete: operations["removeCartItem"];
  };
  "/ecom/cart/merge": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    post: operations["mergeCart"];
  };
  "/ecom/checkout": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    post: operations["checkout"];
  };
  "/ecom/csrf-token": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    get: operations["issueCsrfToken"];
  };
  "/ecom/genres": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    get: operations["listGenres"];
  };
  "/ecom/orders": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    get: operations["listOrders"];
  };
  "/ecom/orders/{order_id}": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    get: operations["getOrder"];
  };
  "/ecom/orders/{order_id}/cancel": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    post: operations["cancelOrder"];
  };
}
export interface components {
  schemas: {
    Book: {
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
    };
    Cancellation: { reason?: string | null; };
    Cart: { count: number; items: components["schemas"]["CartLine"][]; total: string; };
    CartLine: {
      available_for_sale: boolean;
      book_id: string;
      id: string;
      line_total: string;
      price: string;
      quantity: number;
      title: string;
    };
    CheckoutRequest: { expected_total: string; shipping: components["schemas"]["Shipping"]; };
    CsrfTokenBody: { expires_in: number; token: string; };
    GenreCount: { count: number; genre: string; };
    GuestCart: { items: components["schemas"]["GuestItem"][]; };
    GuestItem: {
      book_id: string;
      quantity: number;
    };
    MergedCart: { cart: components["schemas"]["Cart"]; skipped: components["schemas"]["Skipped"][]; };
    NewLine: {
      book_id: string;
      quantity: number;
    };
    NewQuantity: { quantity: number; };
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
    };
    Page_Book_: {
      items: components["schemas"]["Book"][];
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
    Shipping: {
      city: string;
      country: string;
      line1: string;
      line2?: string | null;
      name: string;
      postal_code: string;
    };
    ShippingAddress: {
      city: string;
      country: string;
      line1: string;
      line2: string | null;
      name: string;
      postal_code: string;
    };
    Skipped: {
      book_id: string;
      /** @enum {string} */
      reason: "not_on_sale" | "cart_full";
    };
    /** @enum {string} */
    Status: "CONFIRMED" | "SHIPPED" | "DELIVERED" | "CANCELLED";
  };
}
export interface operations {
  listBooks: {
    parameters: {
      query?: {
        page?: number;
        size?: number;
        sort?: "title" | "-title" | "price" | "-price" | "published_year" | "-published_year" | "created_at" | "-created_at";
        genre?: string | null;
        min_price?: number | string | null;
        max_price?: number | string | null;
      };
    };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["Page_Book_"]; };
      };
    };
  };
  searchBooks: {
    parameters: {
      query: { q: string; page?: number; size?: number; };
    };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["Page_Book_"]; };
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
        content: { "application/json": components["schemas"]["Book"]; };
      };
    };
  };
  getCart: {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["Cart"]; };
      };
    };
  };
  clearCart: {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    responses: {
      204: {
        headers: { [name: string]: unknown; };
      };
    };
  };
  addCartItem: {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    requestBody: { content: { "application/json": components["schemas"]["NewLine"]; }; };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["Cart"]; };
      };
    };
  };
  setCartItemQuantity: {
    parameters: {
      path: { item_id: string; };
    };
    requestBody: { content: { "application/json": components["schemas"]["NewQuantity"]; }; };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["Cart"]; };
      };
    };
  };
  removeCartItem: {
    parameters: {
      path: { item_id: string; };
    };
    responses: {
      204: {
        headers: { [name: string]: unknown; };
      };
    };
  };
  mergeCart: {
    parameters: {
      header?: { "Idempotency-Key"?: string | null; };
    };
    requestBody: { content: { "application/json": components["schemas"]["GuestCart"]; }; };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["MergedCart"]; };
      };
    };
  };
  checkout: {
    parameters: {
      header?: { "Idempotency-Key"?: string | null; };
    };
    requestBody: { content: { "application/json": components["schemas"]["CheckoutRequest"]; }; };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["OrderDetail"]; };
      };
      201: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["OrderDetail"]; };
      };
    };
  };
  issueCsrfToken: {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["CsrfTokenBody"]; };
      };
    };
  };
  listGenres: {
    parameters: { query?: never; header?: never; path?: never; cookie?: never; };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["GenreCount"][]; };
      };
    };
  };
  listOrders: {
    parameters: {
      query?: { status?: components["schemas"]["Status"] | null; page?: number; size?: number; };
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
  cancelOrder: {
    parameters: {
      path: { order_id: string; };
    };
    requestBody?: { content: { "application/json": components["schemas"]["Cancellation"] | null; }; };
    responses: {
      200: {
        headers: { [name: string]: unknown; };
        content: { "application/json": components["schemas"]["OrderDetail"]; };
      };
    };
  };
}
